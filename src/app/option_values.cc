#include "app/option_values.h"

#include <pwd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

namespace proxyvpn::app {
namespace {

tl::unexpected<Error> bad(std::string_view option, std::string_view text,
                          std::string_view explanation) {
  std::string message(option);
  message += " '";
  message += text;
  message += "': ";
  message += explanation;
  return fail(Code::InvalidArgument, std::move(message));
}

bool to_number(std::string_view text, std::uint64_t& value) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  }
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  return error == std::errc() && stop == end;
}

// The first and the last address of a network are its own name and its broadcast; IPv6 has only the
// first, the subnet-router anycast address (RFC 4291 section 2.6.1).
bool is_host_address(const Cidr& cidr) {
  if (cidr.network().address == cidr.address) return false;
  if (!cidr.address.is_v4()) return true;
  const std::uint32_t host_bits = 0xffffffffu >> cidr.prefix;
  return (cidr.address.v4_host_order() & host_bits) != host_bits;
}

std::string range_text(std::uint64_t low, std::uint64_t high) {
  return "a number from " + std::to_string(low) + " to " + std::to_string(high);
}

}  // namespace

Result<std::uint64_t> parse_number(std::string_view option, std::string_view text,
                                   std::uint64_t low, std::uint64_t high) {
  std::uint64_t value = 0;
  if (!to_number(text, value) || value < low || value > high) {
    return bad(option, text, "must be " + range_text(low, high));
  }
  return value;
}

Result<milliseconds> parse_duration(std::string_view option, std::string_view text,
                                    milliseconds low, milliseconds high) {
  std::string_view digits = text;
  double unit = 1000;
  if (digits.ends_with("ms")) {
    unit = 1;
    digits.remove_suffix(2);
  } else if (digits.ends_with('s')) {
    digits.remove_suffix(1);
  }
  double value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value, std::chars_format::fixed);
  value *= unit;
  const bool good = error == std::errc() && stop == end && std::isfinite(value) &&
                    value >= static_cast<double>(low.count()) &&
                    value <= static_cast<double>(high.count());
  if (!good) {
    return bad(option, text,
               "must be seconds (10, 2.5, 10s) or milliseconds (500ms), from " +
                   std::to_string(low.count()) + "ms to " + std::to_string(high.count() / 1000) +
                   "s");
  }
  return milliseconds(std::llround(value));
}

Result<std::uint64_t> parse_size(std::string_view option, std::string_view text, std::uint64_t low,
                                 std::uint64_t high) {
  std::string_view digits = text;
  unsigned shift = 0;
  constexpr std::string_view units = "KMG";
  if (!digits.empty()) {
    const auto upper = static_cast<char>(std::toupper(static_cast<unsigned char>(digits.back())));
    if (const auto unit = units.find(upper); unit != std::string_view::npos) {
      shift = 10 * (static_cast<unsigned>(unit) + 1);
      digits.remove_suffix(1);
    }
  }
  std::uint64_t value = 0;
  if (!to_number(digits, value) || value > (UINT64_MAX >> shift) || (value << shift) < low ||
      (value << shift) > high) {
    return bad(option, text,
               "must be a size from " + std::to_string(low >> 20) + "M to " +
                   std::to_string(high >> 20) + "M (K, M and G are powers of 1024)");
  }
  return value << shift;
}

Result<IpAddress> parse_unicast(std::string_view option, std::string_view text) {
  const auto address = IpAddress::parse(text);
  if (!address) return bad(option, text, "is not an IPv4 or IPv6 address");
  if (address->is_unspecified() || address->is_multicast()) {
    return bad(option, text, "is not the address of one machine");
  }
  return *address;
}

Result<Cidr> parse_network(std::string_view option, std::string_view text) {
  const auto cidr = parse_cidr(text);
  if (!cidr) return bad(option, text, "is not a network such as 10.0.0.0/8 or fd00::/8");
  if (cidr->prefix == 0) {
    return bad(option, text,
               "would send everything around the proxy; to stop using it, run: proxyvpn down");
  }
  return cidr->network();
}

Result<Cidr> parse_tun_cidr(std::string_view option, std::string_view text, Family family) {
  const bool v4 = family == Family::V4;
  const auto cidr = parse_cidr(text);
  if (!cidr || cidr->address.family() != family) {
    return bad(option, text,
               v4 ? "is not an IPv4 address with a prefix length such as 10.255.255.1/30"
                  : "is not an IPv6 address with a prefix length such as fd70:7278:7976::1/126");
  }
  const unsigned longest = v4 ? 30 : 126;
  const unsigned shortest = v4 ? 8 : 32;
  if (cidr->prefix > longest) {
    return bad(option, text,
               "is too small: the device needs room for our address and a peer, so at most /" +
                   std::to_string(longest));
  }
  if (cidr->prefix < shortest) {
    return bad(option, text,
               "is too large: its route would take other networks away, so at least /" +
                   std::to_string(shortest));
  }
  const auto& address = cidr->address;
  if (address.is_loopback() || address.is_multicast() || address.is_unspecified()) {
    return bad(option, text, "cannot be the address of a network device");
  }
  if (!is_host_address(*cidr)) {
    return bad(option, text,
               "is the network's own or its broadcast address; give one of the addresses between "
               "them, such as " +
                   std::string(v4 ? "10.255.255.1/30" : "fd70:7278:7976::1/126"));
  }
  return *cidr;
}

Result<std::string> parse_link_name(std::string_view option, std::string_view text) {
  if (text.size() > 15) {
    return bad(option, text,
               "is too long: the kernel takes at most 15 characters, this has " +
                   std::to_string(text.size()));
  }
  const bool good = !text.empty() && text != "." && text != ".." && text.front() != '-' &&
                    std::all_of(text.begin(), text.end(), [](unsigned char c) {
                      return (c < 0x80 && std::isalnum(c) != 0) || c == '_' || c == '-' || c == '.';
                    });
  if (!good || text == "lo" || text == "all" || text == "default") {
    return bad(option, text,
               "cannot be the name of a device; use letters, digits, '_', '-' and '.', such as "
               "tun0");
  }
  return std::string(text);
}

Result<uid_t> parse_user(std::string_view option, const std::string& text) {
  std::uint64_t number = 0;
  if (to_number(text, number)) {
    // 2^32 - 1 is "no user" to the kernel (setreuid(2)).
    if (number < UINT32_MAX) return static_cast<uid_t>(number);
    return bad(option, text, "is not a user id");
  }
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(std::size_t{16} * 1024);
  const int rc = ::getpwnam_r(text.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (rc == 0 && found != nullptr) return found->pw_uid;
  return bad(option, text, "there is no such user on this machine (getent passwd lists them)");
}

Result<Endpoint> parse_listener(std::string_view option, std::string_view text) {
  const bool port_alone =
      !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  const auto where =
      parse_endpoint(port_alone ? "127.0.0.1:" + std::string(text) : std::string(text));
  if (where) return *where;
  return bad(option, text, "must be 127.0.0.1:PORT, [::1]:PORT or a port, 1 to 65535");
}

Result<log::Level> parse_log_level(std::string_view option, std::string_view text) {
  using log::Level;
  for (const Level level : {Level::Error, Level::Warning, Level::Info, Level::Debug}) {
    if (text == log::name_of(level)) return level;
  }
  return bad(option, text, "must be error, warning, info or debug");
}

Result<LogFormat> parse_log_format(std::string_view option, std::string_view text) {
  if (text == "auto") return LogFormat::Auto;
  if (text == "text") return LogFormat::Text;
  if (text == "json") return LogFormat::Json;
  if (text == "journal") return LogFormat::Journal;
  return bad(option, text, "must be auto, text, json or journal");
}

Result<firewall::Backend> parse_backend(std::string_view option, std::string_view text) {
  using firewall::Backend;
  struct Name {
    std::string_view name;
    Backend backend = Backend::Auto;
  };
  static constexpr std::array<Name, 5> names{
      Name{"auto", Backend::Auto}, Name{"nftables", Backend::Nftables},
      Name{"nft", Backend::NftCommand}, Name{"iptables-nft", Backend::IptablesNft},
      Name{"iptables-legacy", Backend::IptablesLegacy}};
  for (const auto& entry : names) {
    if (entry.name == text) return entry.backend;
  }
  return bad(option, text, "must be auto, nftables, nft, iptables-nft or iptables-legacy");
}

}  // namespace proxyvpn::app
