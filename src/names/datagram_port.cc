#include "names/datagram_port.h"

#include <netinet/in.h>

#include <algorithm>

#include "dns/message.h"
#include "tun/reply_packet.h"

namespace proxyvpn::names {
namespace {

constexpr std::size_t kUdpHeader = 8;
constexpr std::uint8_t kEchoV4 = 8;    // RFC 792
constexpr std::uint8_t kEchoV6 = 128;  // RFC 4443 4.1

// Only a ping: an ICMP error is never answered with another one (RFC 1122 3.2.2).
bool is_ping(std::span<const std::uint8_t> packet, const tun::OtherPacket& other) noexcept {
  if (other.total <= other.ip_header) return false;
  const std::uint8_t type = packet[other.ip_header];
  if (other.family == Family::V4) return other.protocol == IPPROTO_ICMP && type == kEchoV4;
  return other.protocol == IPPROTO_ICMPV6 && type == kEchoV6;
}

}  // namespace

void DatagramPort::on_packet(std::span<const std::uint8_t> packet, bool checked) noexcept {
  tun::OtherPacket other;
  if (tun::parse_other(packet, &other) != tun::ParseStatus::NotTcp) return;
  if (other.protocol == IPPROTO_UDP) {
    if (checked || !tun::udp_checksum_wrong(packet, other)) on_udp(packet, other);
  } else if (is_ping(packet, other)) {
    send(tun::build_unreachable(packet, other, tun::Unreachable::Prohibited));
  }
}

void DatagramPort::on_udp(std::span<const std::uint8_t> packet, const tun::OtherPacket& other) {
  const Endpoint client{tun::source_of(other), other.source_port};
  const Endpoint server{tun::destination_of(other), other.destination_port};
  const bool ours = server.port == dns::kPort &&
                    std::find(servers_.begin(), servers_.end(), server.address) != servers_.end();
  if (!ours) return send(tun::build_unreachable(packet, other, tun::Unreachable::Port));
  const auto question =
      packet.subspan(other.ip_header + kUdpHeader, other.total - other.ip_header - kUdpHeader);
  answerer_.ask(question, Transport::Datagram,
                [this, client, server](std::span<const std::uint8_t> answer) {
                  send(tun::build_udp(server, client, answer));
                });
}

void DatagramPort::send(std::span<const std::uint8_t> packet) const noexcept {
  if (packet.empty()) return;
  const bool vnet = io_.offloads().vnet_header;
  tun::VnetHeader header;  // nothing left to compute or to cut
  const iovec pieces[2] = {{&header, sizeof header},
                           {const_cast<std::uint8_t*>(packet.data()), packet.size()}};
  // A full queue loses it, as any network may lose a datagram: the client asks again.
  static_cast<void>(io_.write(vnet ? std::span(pieces) : std::span(pieces).subspan(1)));
}

}  // namespace proxyvpn::names
