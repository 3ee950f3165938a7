#include "base/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace proxyvpn {
namespace {

// Decimal digits only, no sign, no blanks; empty on anything else or above `limit`.
std::optional<unsigned> parse_number(std::string_view text, unsigned limit) {
  unsigned value = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || value > limit) return std::nullopt;
  return value;
}

bool same_prefix(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, unsigned bits) {
  const unsigned whole = bits / 8;
  if (!std::equal(a.begin(), a.begin() + whole, b.begin())) return false;
  const unsigned rest = bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff00U >> rest);
  return (a[whole] & mask) == (b[whole] & mask);
}

}  // namespace

IpAddress IpAddress::v4(std::span<const std::uint8_t, 4> bytes) noexcept {
  IpAddress out;
  std::copy(bytes.begin(), bytes.end(), out.bytes_.begin());
  return out;
}

IpAddress IpAddress::v4(std::uint32_t host_order) noexcept {
  const std::uint32_t net = htonl(host_order);
  std::array<std::uint8_t, 4> raw{};
  std::memcpy(raw.data(), &net, raw.size());
  return v4(raw);
}

IpAddress IpAddress::v6(std::span<const std::uint8_t, 16> bytes) noexcept {
  IpAddress out;
  out.family_ = Family::V6;
  std::copy(bytes.begin(), bytes.end(), out.bytes_.begin());
  return out;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string copy(text);
  IpAddress out;
  if (::inet_pton(AF_INET, copy.c_str(), out.bytes_.data()) == 1) return out;
  if (::inet_pton(AF_INET6, copy.c_str(), out.bytes_.data()) == 1) {
    out.family_ = Family::V6;
    return out;
  }
  return fail(Code::InvalidArgument, "'" + copy + "' is not an IPv4 or IPv6 address");
}

std::uint32_t IpAddress::v4_host_order() const noexcept {
  std::uint32_t net = 0;
  std::memcpy(&net, bytes_.data(), sizeof net);
  return ntohl(net);
}

bool IpAddress::is_loopback() const noexcept {
  if (is_v4()) return bytes_[0] == 127;
  std::array<std::uint8_t, 16> one{};
  one[15] = 1;
  if (bytes_ == one) return true;
  const bool mapped =
      std::all_of(bytes_.begin(), bytes_.begin() + 10, [](auto b) { return b == 0; }) &&
      bytes_[10] == 0xff && bytes_[11] == 0xff;
  return mapped && bytes_[12] == 127;
}

bool IpAddress::is_unspecified() const noexcept {
  return std::all_of(bytes_.begin(), bytes_.end(), [](auto b) { return b == 0; });
}

bool IpAddress::is_multicast() const noexcept {
  return is_v4() ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

bool IpAddress::is_link_local() const noexcept {
  if (is_v4()) return bytes_[0] == 169 && bytes_[1] == 254;
  return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

std::string to_string(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(address.af(), address.bytes().data(), text, sizeof text);
  return text;
}

std::string to_string(const Endpoint& endpoint) {
  const auto port = std::to_string(endpoint.port);
  if (endpoint.address.is_v4()) return to_string(endpoint.address) + ":" + port;
  return "[" + to_string(endpoint.address) + "]:" + port;
}

Result<Endpoint> parse_endpoint(std::string_view text) {
  const auto bad = [&](const char* why) {
    return fail(Code::InvalidArgument, "'" + std::string(text) + "' is not address:port: " + why);
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("the port is missing");
  auto host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  if (!address) return bad("the address does not parse");
  if (address->is_v6() != bracketed)
    return bad("an IPv6 address goes in brackets, an IPv4 one not");
  const auto port = parse_number(text.substr(colon + 1), 65535);
  if (!port || *port == 0) return bad("a port is a number from 1 to 65535");
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

SocketAddress to_sockaddr(const Endpoint& endpoint) noexcept {
  SocketAddress out;
  const auto bytes = endpoint.address.bytes();
  if (endpoint.address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    std::memcpy(&in.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&out.storage, &in, sizeof in);
    out.length = sizeof in;
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(endpoint.port);
    std::memcpy(&in.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&out.storage, &in, sizeof in);
    out.length = sizeof in;
  }
  return out;
}

std::optional<Endpoint> from_sockaddr(const sockaddr* address, socklen_t length) noexcept {
  if (address == nullptr) return std::nullopt;
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return Endpoint{IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    const auto port = ntohs(in.sin6_port);
    const auto* raw = in.sin6_addr.s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
      return Endpoint{IpAddress::v4(std::span<const std::uint8_t, 4>(raw + 12, 4)), port};
    }
    return Endpoint{IpAddress::v6(std::span<const std::uint8_t, 16>(raw, 16)), port};
  }
  return std::nullopt;
}

bool Cidr::contains(const IpAddress& other) const noexcept {
  return other.family() == address.family() && same_prefix(address.bytes(), other.bytes(), prefix);
}

bool Cidr::overlaps(const Cidr& other) const noexcept {
  return other.address.family() == address.family() &&
         same_prefix(address.bytes(), other.address.bytes(), std::min(prefix, other.prefix));
}

Cidr Cidr::network() const noexcept {
  std::array<std::uint8_t, 16> raw{};
  const auto bytes = address.bytes();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto kept = static_cast<unsigned>(
        std::clamp<int>(static_cast<int>(prefix) - static_cast<int>(8 * i), 0, 8));
    raw[i] = static_cast<std::uint8_t>(bytes[i] & (0xff00U >> kept));
  }
  if (address.is_v4())
    return {IpAddress::v4(std::span<const std::uint8_t, 4>(raw.data(), 4)), prefix};
  return {IpAddress::v6(raw), prefix};
}

std::string to_string(const Cidr& cidr) {
  return to_string(cidr.address) + "/" + std::to_string(cidr.prefix);
}

Result<Cidr> parse_cidr(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) {
    return fail(Code::InvalidArgument,
                "'" + std::string(text) + "' is not a network such as 10.0.0.0/8 or fd00::/8");
  }
  if (slash == std::string_view::npos) return Cidr{*address, address->bits()};
  const auto prefix = parse_number(text.substr(slash + 1), address->bits());
  if (!prefix) {
    return fail(Code::InvalidArgument, "'" + std::string(text) +
                                           "': the prefix length goes from 0 to " +
                                           std::to_string(address->bits()));
  }
  return Cidr{*address, *prefix};
}

std::string ip_protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_ICMPV6:
      return "ipv6-icmp";
    default:
      return std::to_string(protocol);
  }
}

}  // namespace proxyvpn

std::size_t std::hash<proxyvpn::IpAddress>::operator()(
    const proxyvpn::IpAddress& address) const noexcept {
  const auto bytes = address.bytes();
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::size_t std::hash<proxyvpn::Endpoint>::operator()(
    const proxyvpn::Endpoint& endpoint) const noexcept {
  return std::hash<proxyvpn::IpAddress>{}(endpoint.address) * 31 + endpoint.port;
}
