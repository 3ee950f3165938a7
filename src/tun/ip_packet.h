#pragma once
// Finds the TCP segment in an IP packet. What lwIP's ip4_input/ip6_input would check is checked
// here, because they are bypassed.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ip.h"

namespace proxyvpn::tun {

enum class ParseStatus : std::uint8_t {
  Tcp,        // `segment` is whole
  NotTcp,     // a well-formed packet of another protocol
  Fragment,   // RFC 791 / RFC 8200 4.5 fragments are not reassembled
  Malformed,  // version, lengths or extension headers don't fit together
};

struct TcpSegment {
  Family family = Family::V4;
  std::uint16_t ip_header = 0;    // bytes before the TCP header, extension headers included
  std::uint16_t tcp_header = 0;   // bytes of the TCP header with options
  std::uint32_t total = 0;        // bytes of the packet by its own header; the rest is padding
  std::uint16_t source_port = 0;  // host order, like all numbers here
  std::uint16_t destination_port = 0;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledgement = 0;
  std::uint8_t flags = 0;                     // RFC 9293 3.1: FIN 1, SYN 2, RST 4, PSH 8, ACK 16
  const std::uint8_t* source = nullptr;       // 4 or 16 bytes in the packet
  const std::uint8_t* destination = nullptr;  // likewise
  [[nodiscard]] std::uint32_t payload() const noexcept { return total - ip_header - tcp_header; }
};

inline constexpr std::size_t kUdpHeader = 8;  // bytes
inline constexpr std::uint8_t kFin = 1;
inline constexpr std::uint8_t kSyn = 2;
inline constexpr std::uint8_t kRst = 4;
inline constexpr std::uint8_t kAck = 16;

// One datagram that is not TCP, as far as somebody may want to answer it.
struct OtherPacket {
  Family family = Family::V4;
  std::uint8_t protocol = 0;      // IPPROTO_UDP, IPPROTO_ICMP, ...; never IPPROTO_TCP
  std::uint16_t ip_header = 0;    // bytes before the payload, extension headers included
  std::uint32_t total = 0;        // bytes of the packet by its own header
  std::uint16_t source_port = 0;  // UDP only, host order
  std::uint16_t destination_port = 0;
  const std::uint8_t* source = nullptr;       // 4 or 16 bytes in the packet
  const std::uint8_t* destination = nullptr;  // likewise
};

// `packet` starts at the IP header. IPv6 extension headers (hop-by-hop, routing, destination
// options) are walked, at most eight of them. Destinations that no TCP peer can have (unspecified,
// multicast, 255.255.255.255) and such sources are Malformed.
ParseStatus parse_tcp(std::span<const std::uint8_t> packet, TcpSegment* segment) noexcept;
// The same for everything else: NotTcp when `other` is filled in, and for UDP its header is whole
// and its length is exactly the packet's.
ParseStatus parse_other(std::span<const std::uint8_t> packet, OtherPacket* other) noexcept;

// One's complement sum over bytes (RFC 1071), not folded, not complemented. `sum` chains calls;
// every piece but the last must have an even length. Result and input are in memory order of 16-bit
// words.
std::uint64_t checksum_add(std::uint64_t sum, std::span<const std::uint8_t> bytes) noexcept;
std::uint16_t checksum_fold(std::uint64_t sum) noexcept;
// Pseudo header (RFC 9293 3.1, RFC 8200 8.1) of TCP with `length` bytes of header and payload.
std::uint64_t pseudo_header_sum(Family family, const std::uint8_t* source,
                                const std::uint8_t* destination, std::uint32_t length,
                                std::uint8_t protocol) noexcept;

}  // namespace proxyvpn::tun
