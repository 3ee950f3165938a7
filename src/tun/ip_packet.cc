#include "tun/ip_packet.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace proxyvpn::tun {
namespace {

constexpr std::size_t kTcpMinimum = 20;
constexpr unsigned kMaxExtensionHeaders = 8;

std::uint16_t load16(const std::uint8_t* p) noexcept {
  return static_cast<std::uint16_t>((p[0] << 8) | p[1]);
}

std::uint32_t load32(const std::uint8_t* p) noexcept {
  return (std::uint32_t{load16(p)} << 16) | load16(p + 2);
}

bool unusable_v4(const std::uint8_t* a) noexcept {
  // 0.0.0.0/8, 224.0.0.0/4, 240.0.0.0/4 with 255.255.255.255: RFC 1122 3.2.1.3, RFC 1112 section 4
  return a[0] == 0 || a[0] >= 224;
}

bool unusable_v6(const std::uint8_t* a) noexcept {
  return a[0] == 0xff || std::all_of(a, a + 16, [](auto b) { return b == 0; });
}

// The IP header, whatever it carries.
struct IpHeader {
  Family family = Family::V4;
  std::uint8_t protocol = 0;
  std::uint16_t length = 0;  // extension headers included
  std::uint32_t total = 0;
  const std::uint8_t* source = nullptr;
  const std::uint8_t* destination = nullptr;
};

// True: `ip` is filled in. False: `*status` says why not.
bool parse_v4(std::span<const std::uint8_t> packet, IpHeader* ip, ParseStatus* status) noexcept {
  *status = ParseStatus::Malformed;
  if (packet.size() < 20) return false;
  const std::size_t header = (packet[0] & 15U) * 4U;
  const std::size_t total = load16(&packet[2]);
  if (header < 20 || total < header || total > packet.size()) return false;
  if ((load16(&packet[6]) & 0x3fff) != 0) {  // MF or an offset
    *status = ParseStatus::Fragment;
    return false;
  }
  *ip = {Family::V4,
         packet[9],
         static_cast<std::uint16_t>(header),
         static_cast<std::uint32_t>(total),
         &packet[12],
         &packet[16]};
  return true;
}

bool is_extension(std::uint8_t next) noexcept {
  return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS;
}

bool parse_v6(std::span<const std::uint8_t> packet, IpHeader* ip, ParseStatus* status) noexcept {
  *status = ParseStatus::Malformed;
  if (packet.size() < 40) return false;
  const std::size_t total = 40U + load16(&packet[4]);
  if (total > packet.size()) return false;  // also RFC 2675 jumbograms (length 0)
  std::uint8_t next = packet[6];
  std::size_t at = 40;
  for (unsigned i = 0; is_extension(next); ++i) {
    if (i == kMaxExtensionHeaders || at + 8 > total) return false;
    next = packet[at];
    at += (packet[at + 1] + 1U) * 8U;
    if (at > total) return false;
  }
  if (next == IPPROTO_FRAGMENT) {
    *status = ParseStatus::Fragment;
    return false;
  }
  *ip = {Family::V6, next,       static_cast<std::uint16_t>(at), static_cast<std::uint32_t>(total),
         &packet[8], &packet[24]};
  return true;
}

bool parse_ip(std::span<const std::uint8_t> packet, IpHeader* ip, ParseStatus* status) noexcept {
  *status = ParseStatus::Malformed;
  if (packet.empty()) return false;
  const unsigned version = packet[0] >> 4;
  if (version == 4) return parse_v4(packet, ip, status);
  return version == 6 && parse_v6(packet, ip, status);
}

bool usable(const IpHeader& ip) noexcept {
  if (ip.family == Family::V4) return !unusable_v4(ip.source) && !unusable_v4(ip.destination);
  return !unusable_v6(ip.source) && !unusable_v6(ip.destination);
}

// RFC 9293 3.1: kind, length, data. A list that does not end inside the header is nobody's honest
// packet, and lwIP would read beyond it.
bool options_fit(std::span<const std::uint8_t> options) noexcept {
  std::size_t at = 0;
  while (at < options.size()) {
    const std::uint8_t kind = options[at];
    if (kind == 0) return true;
    if (kind == 1) {
      ++at;
      continue;
    }
    if (at + 2 > options.size() || options[at + 1] < 2) return false;
    at += options[at + 1];
  }
  return at == options.size();
}

}  // namespace

ParseStatus parse_tcp(std::span<const std::uint8_t> packet, TcpSegment* segment) noexcept {
  IpHeader ip;
  auto status = ParseStatus::Malformed;
  if (!parse_ip(packet, &ip, &status)) return status;
  if (ip.protocol != IPPROTO_TCP) return ParseStatus::NotTcp;
  if (!usable(ip)) return ParseStatus::Malformed;
  segment->family = ip.family;
  segment->ip_header = ip.length;
  segment->total = ip.total;
  segment->source = ip.source;
  segment->destination = ip.destination;
  const std::uint8_t* tcp = packet.data() + segment->ip_header;
  const std::size_t length = segment->total - segment->ip_header;
  if (length < kTcpMinimum) return ParseStatus::Malformed;
  const std::size_t header = (tcp[12] >> 4) * 4U;
  if (header < kTcpMinimum || header > length) return ParseStatus::Malformed;
  if (!options_fit({tcp + kTcpMinimum, header - kTcpMinimum})) return ParseStatus::Malformed;
  segment->tcp_header = static_cast<std::uint16_t>(header);
  segment->source_port = load16(tcp);
  segment->destination_port = load16(tcp + 2);
  segment->sequence = load32(tcp + 4);
  segment->acknowledgement = load32(tcp + 8);
  segment->flags = tcp[13] & 0x3f;
  // Port 0 is reserved (RFC 6335 section 6) and cannot be put in a CONNECT request.
  return segment->source_port == 0 || segment->destination_port == 0 ? ParseStatus::Malformed
                                                                     : ParseStatus::Tcp;
}

ParseStatus parse_other(std::span<const std::uint8_t> packet, OtherPacket* other) noexcept {
  IpHeader ip;
  auto status = ParseStatus::Malformed;
  if (!parse_ip(packet, &ip, &status)) return status;
  if (ip.protocol == IPPROTO_TCP) return ParseStatus::Tcp;
  if (!usable(ip)) return ParseStatus::Malformed;
  *other = {ip.family, ip.protocol, ip.length, ip.total, 0, 0, ip.source, ip.destination};
  if (ip.protocol != IPPROTO_UDP) return ParseStatus::NotTcp;
  const std::uint8_t* udp = packet.data() + ip.length;
  const std::size_t length = ip.total - ip.length;
  if (length < kUdpHeader || load16(udp + 4) != length) return ParseStatus::Malformed;
  other->source_port = load16(udp);
  other->destination_port = load16(udp + 2);
  return other->source_port == 0 || other->destination_port == 0 ? ParseStatus::Malformed
                                                                 : ParseStatus::NotTcp;
}

std::uint64_t checksum_add(std::uint64_t sum, std::span<const std::uint8_t> bytes) noexcept {
  const std::uint8_t* p = bytes.data();
  std::size_t n = bytes.size();
  // 32-bit words into a 64-bit sum: cannot overflow below 2^32 words.
  for (; n >= 4; p += 4, n -= 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, p, 4);
    sum += word;
  }
  if (n >= 2) {
    std::uint16_t word = 0;
    std::memcpy(&word, p, 2);
    sum += word;
    p += 2;
    n -= 2;
  }
  if (n == 1) {
    std::uint16_t word = 0;
    std::memcpy(&word, p, 1);
    sum += word;
  }
  return sum;
}

std::uint16_t checksum_fold(std::uint64_t sum) noexcept {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

std::uint64_t pseudo_header_sum(Family family, const std::uint8_t* source,
                                const std::uint8_t* destination, std::uint32_t length,
                                std::uint8_t protocol) noexcept {
  const std::size_t n = family == Family::V4 ? 4 : 16;
  std::uint64_t sum = checksum_add(0, {source, n});
  sum = checksum_add(sum, {destination, n});
  return sum + htonl(length) + htons(protocol);
}

}  // namespace proxyvpn::tun
