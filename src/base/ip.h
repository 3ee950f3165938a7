#pragma once
// Internet addresses as values: IPv4 and IPv6 alike, ordered, hashable, printable.
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace proxyvpn {

enum class Family : std::uint8_t { V4 = 4, V6 = 6 };

class IpAddress {
 public:
  // 0.0.0.0
  IpAddress() = default;
  // Four bytes in network order.
  static IpAddress v4(std::span<const std::uint8_t, 4> bytes) noexcept;
  static IpAddress v4(std::uint32_t host_order) noexcept;
  // Sixteen bytes in network order. An IPv4-mapped address stays an IPv6 address.
  static IpAddress v6(std::span<const std::uint8_t, 16> bytes) noexcept;
  // "192.0.2.1" or "2001:db8::1", without brackets, port or zone (inet_pton(3)).
  static Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] Family family() const noexcept { return family_; }
  [[nodiscard]] bool is_v4() const noexcept { return family_ == Family::V4; }
  [[nodiscard]] bool is_v6() const noexcept { return family_ == Family::V6; }
  [[nodiscard]] int af() const noexcept { return is_v4() ? AF_INET : AF_INET6; }
  // 4 or 16 bytes in network order, valid while the address lives.
  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
    return {bytes_.data(), is_v4() ? std::size_t{4} : std::size_t{16}};
  }
  [[nodiscard]] unsigned bits() const noexcept { return is_v4() ? 32 : 128; }
  [[nodiscard]] std::uint32_t v4_host_order() const noexcept;

  [[nodiscard]] bool is_loopback() const noexcept;     // 127/8, ::1, ::ffff:127/104
  [[nodiscard]] bool is_unspecified() const noexcept;  // 0.0.0.0, ::
  [[nodiscard]] bool is_multicast() const noexcept;    // 224/4, ff00::/8
  [[nodiscard]] bool is_link_local() const noexcept;   // 169.254/16, fe80::/10

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  Family family_ = Family::V4;
  std::array<std::uint8_t, 16> bytes_{};
};

// The address alone, IPv6 in RFC 5952 form, no brackets.
std::string to_string(const IpAddress& address);

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;  // host order
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// "192.0.2.1:80", "[2001:db8::1]:80"
std::string to_string(const Endpoint& endpoint);
// "192.0.2.1:80" or "[2001:db8::1]:80"; the port is required, 1 to 65535.
Result<Endpoint> parse_endpoint(std::string_view text);

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
};
SocketAddress to_sockaddr(const Endpoint& endpoint) noexcept;
// Empty for any family but AF_INET and AF_INET6. An IPv4-mapped IPv6 address becomes IPv4.
std::optional<Endpoint> from_sockaddr(const sockaddr* address, socklen_t length) noexcept;

struct Cidr {
  IpAddress address;
  unsigned prefix = 32;
  [[nodiscard]] bool contains(const IpAddress& other) const noexcept;
  [[nodiscard]] bool overlaps(const Cidr& other) const noexcept;
  // The same network with all host bits zero.
  [[nodiscard]] Cidr network() const noexcept;
  friend auto operator<=>(const Cidr&, const Cidr&) = default;
};

std::string to_string(const Cidr& cidr);
// "10.0.0.0/8", "fd00::/8", or an address alone (a full-length prefix). Host bits are kept as
// given.
Result<Cidr> parse_cidr(std::string_view text);

// "tcp", "udp", "icmp", "ipv6-icmp", the number of any other: names that ip(8), nft(8) and
// iptables(8) take also without /etc/protocols.
std::string ip_protocol_name(std::uint8_t protocol);

}  // namespace proxyvpn

template <>
struct std::hash<proxyvpn::IpAddress> {
  std::size_t operator()(const proxyvpn::IpAddress& address) const noexcept;
};
template <>
struct std::hash<proxyvpn::Endpoint> {
  std::size_t operator()(const proxyvpn::Endpoint& endpoint) const noexcept;
};
