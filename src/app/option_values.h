#pragma once
// Text of single options into values; every error names the option, the value and what is allowed.
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "app/log_render.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/ip.h"
#include "firewall/firewall.h"

namespace proxyvpn::app {

// Decimal or 0x hexadecimal, from `low` to `high` inclusive.
Result<std::uint64_t> parse_number(std::string_view option, std::string_view text,
                                   std::uint64_t low, std::uint64_t high);
// "10", "10s", "1.5s" or "500ms", from `low` to `high` inclusive.
Result<milliseconds> parse_duration(std::string_view option, std::string_view text,
                                    milliseconds low, milliseconds high);
// Bytes; K, M and G are powers of 1024.
Result<std::uint64_t> parse_size(std::string_view option, std::string_view text, std::uint64_t low,
                                 std::uint64_t high);
// One address a packet can be sent to: not 0.0.0.0, not multicast.
Result<IpAddress> parse_unicast(std::string_view option, std::string_view text);
// A network with its host bits cleared.
Result<Cidr> parse_network(std::string_view option, std::string_view text);
// The address and prefix of the TUN: ours must be a usable host address of a network that has room
// for a peer (at most /30 for IPv4, /126 for IPv6) and that is not so large that its route would
// take other traffic away (at least /8, /32).
Result<Cidr> parse_tun_cidr(std::string_view option, std::string_view text, Family family);
// 1 to 15 of letters, digits, '_', '-' and '.', as the kernel takes them and a shell can paste
// them.
Result<std::string> parse_link_name(std::string_view option, std::string_view text);
// "127.0.0.1:9095", "[::1]:9095", or a port alone on 127.0.0.1.
Result<Endpoint> parse_listener(std::string_view option, std::string_view text);
// A name of the user database or a number.
Result<uid_t> parse_user(std::string_view option, const std::string& text);
Result<log::Level> parse_log_level(std::string_view option, std::string_view text);
Result<LogFormat> parse_log_format(std::string_view option, std::string_view text);
Result<firewall::Backend> parse_backend(std::string_view option, std::string_view text);

}  // namespace proxyvpn::app
