#pragma once
// Packets back to whoever sent one that is not TCP: a UDP answer, or an ICMP error.
#include <cstdint>
#include <span>
#include <vector>

#include "base/ip.h"
#include "tun/ip_packet.h"

namespace proxyvpn::tun {

// From the IP header on, checksums included. Both ends are of one family. Empty when `payload` does
// not fit into an IP packet.
std::vector<std::uint8_t> build_udp(const Endpoint& source, const Endpoint& destination,
                                    std::span<const std::uint8_t> payload);

enum class Unreachable : std::uint8_t {
  Port,        // RFC 792 3/3, RFC 4443 1/4: ECONNREFUSED for a connected UDP socket
  Prohibited,  // RFC 1812 3/13, RFC 4443 1/1: what ping(8) calls "filtered"
};
// The ICMP error that answers `packet`, which parse_other() has taken apart as `other`. As if the
// packet's destination had sent it.
std::vector<std::uint8_t> build_unreachable(std::span<const std::uint8_t> packet,
                                            const OtherPacket& other, Unreachable why);

// True: UDP whose checksum is there and does not fit. IPv4 may leave it out (RFC 768).
bool udp_checksum_wrong(std::span<const std::uint8_t> packet, const OtherPacket& other) noexcept;

IpAddress source_of(const OtherPacket& packet) noexcept;
IpAddress destination_of(const OtherPacket& packet) noexcept;

}  // namespace proxyvpn::tun
