// Any bytes as an IP packet: the parser stays inside them and what it answers fits together.
#include <cstdlib>
#include <vector>

#include "tun/reply_packet.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxyvpn::tun;
  const std::vector<std::uint8_t> packet(data,
                                         data + size);  // exact size: the sanitizer sees overruns
  OtherPacket other;
  if (parse_other(packet, &other) == ParseStatus::NotTcp) {
    if (other.total > size || other.ip_header > other.total) std::abort();
    const auto error = build_unreachable(packet, other, Unreachable::Port);
    OtherPacket icmp;
    if (parse_other(error, &icmp) != ParseStatus::NotTcp || icmp.total != error.size())
      std::abort();
    if (other.protocol == 17) udp_checksum_wrong(packet, other);
  }
  TcpSegment s;
  if (parse_tcp(packet, &s) != ParseStatus::Tcp) return 0;
  if (s.total > size || std::size_t{s.ip_header} + s.tcp_header > s.total) std::abort();
  if (s.source < packet.data() || s.destination + 4 > packet.data() + size) std::abort();
  if (s.tcp_header < 20 || s.source_port == 0 || s.destination_port == 0) std::abort();
  return 0;
}
