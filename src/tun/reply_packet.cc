#include "tun/reply_packet.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace proxyvpn::tun {
namespace {

constexpr std::size_t kIcmpHeader = 8;
constexpr std::size_t kLargestPacket = 65535;
constexpr std::uint8_t kHopLimit = 64;
// RFC 1812 4.3.2.3 and RFC 4443 2.4(c): an error stays within the smallest MTU.
constexpr std::size_t kMostQuotedV4 = 576 - 20 - kIcmpHeader;
constexpr std::size_t kMostQuotedV6 = 1280 - 40 - kIcmpHeader;

void store16(std::uint8_t* p, std::size_t value) noexcept {
  p[0] = static_cast<std::uint8_t>(value >> 8);
  p[1] = static_cast<std::uint8_t>(value);
}

// A checksum that was summed in memory order goes into memory as it is.
void store_checksum(std::uint8_t* p, std::uint64_t sum, bool zero_is_none) noexcept {
  auto folded = static_cast<std::uint16_t>(~checksum_fold(sum));
  if (folded == 0 && zero_is_none) folded = 0xffff;
  std::memcpy(p, &folded, sizeof folded);
}

// The IP header and `length` zero bytes behind it.
std::vector<std::uint8_t> make_packet(const IpAddress& source, const IpAddress& destination,
                                      std::uint8_t protocol, std::size_t length) {
  const bool v4 = source.is_v4();
  const std::size_t header = v4 ? 20 : 40;
  if (header + length > kLargestPacket) return {};
  std::vector<std::uint8_t> packet(header + length);
  std::uint8_t* ip = packet.data();
  const auto from = source.bytes();
  const auto to = destination.bytes();
  if (v4) {
    ip[0] = 0x45;
    store16(ip + 2, packet.size());
    ip[6] = 0x40;  // DF: what is on this path is one machine
    ip[8] = kHopLimit;
    ip[9] = protocol;
    std::copy(from.begin(), from.end(), ip + 12);
    std::copy(to.begin(), to.end(), ip + 16);
    store_checksum(ip + 10, checksum_add(0, {ip, header}), false);
  } else {
    ip[0] = 0x60;
    store16(ip + 4, length);
    ip[6] = protocol;
    ip[7] = kHopLimit;
    std::copy(from.begin(), from.end(), ip + 8);
    std::copy(to.begin(), to.end(), ip + 24);
  }
  return packet;
}

IpAddress address_at(Family family, const std::uint8_t* bytes) noexcept {
  if (family == Family::V4) return IpAddress::v4(std::span<const std::uint8_t, 4>(bytes, 4));
  return IpAddress::v6(std::span<const std::uint8_t, 16>(bytes, 16));
}

}  // namespace

IpAddress source_of(const OtherPacket& packet) noexcept {
  return address_at(packet.family, packet.source);
}

IpAddress destination_of(const OtherPacket& packet) noexcept {
  return address_at(packet.family, packet.destination);
}

std::vector<std::uint8_t> build_udp(const Endpoint& source, const Endpoint& destination,
                                    std::span<const std::uint8_t> payload) {
  const std::size_t length = kUdpHeader + payload.size();
  auto packet = make_packet(source.address, destination.address, IPPROTO_UDP, length);
  if (packet.empty()) return packet;
  std::uint8_t* udp = packet.data() + (packet.size() - length);
  store16(udp, source.port);
  store16(udp + 2, destination.port);
  store16(udp + 4, length);
  std::copy(payload.begin(), payload.end(), udp + kUdpHeader);
  const auto sum = pseudo_header_sum(source.address.family(), source.address.bytes().data(),
                                     destination.address.bytes().data(),
                                     static_cast<std::uint32_t>(length), IPPROTO_UDP);
  store_checksum(udp + 6, checksum_add(sum, {udp, length}), true);
  return packet;
}

std::vector<std::uint8_t> build_unreachable(std::span<const std::uint8_t> packet,
                                            const OtherPacket& other, Unreachable why) {
  const bool v4 = other.family == Family::V4;
  const std::size_t quoted = std::min<std::size_t>(other.total, v4 ? kMostQuotedV4 : kMostQuotedV6);
  const std::size_t length = kIcmpHeader + quoted;
  const IpAddress source = destination_of(other);
  const IpAddress destination = source_of(other);
  const auto protocol = static_cast<std::uint8_t>(v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6});
  auto error = make_packet(source, destination, protocol, length);
  std::uint8_t* icmp = error.data() + (error.size() - length);
  const bool port = why == Unreachable::Port;
  icmp[0] = v4 ? 3 : 1;
  icmp[1] = static_cast<std::uint8_t>(v4 ? (port ? 3 : 13) : (port ? 4 : 1));
  std::copy_n(packet.begin(), quoted, icmp + kIcmpHeader);
  std::uint64_t sum = 0;
  if (!v4) {
    sum = pseudo_header_sum(other.family, source.bytes().data(), destination.bytes().data(),
                            static_cast<std::uint32_t>(length), protocol);
  }
  store_checksum(icmp + 2, checksum_add(sum, {icmp, length}), false);
  return error;
}

bool udp_checksum_wrong(std::span<const std::uint8_t> packet, const OtherPacket& other) noexcept {
  const std::uint8_t* udp = packet.data() + other.ip_header;
  if (udp[6] == 0 && udp[7] == 0) return other.family != Family::V4;
  const std::uint32_t length = other.total - other.ip_header;
  const auto sum =
      pseudo_header_sum(other.family, other.source, other.destination, length, IPPROTO_UDP);
  return checksum_fold(checksum_add(sum, {udp, length})) != 0xffff;
}

}  // namespace proxyvpn::tun
