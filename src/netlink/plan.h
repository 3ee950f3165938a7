#pragma once
// What proxyvpn wants of links, addresses, routes and policy rules, as values. Printing one gives
// the `ip` command that does the same: the log line, `--dry-run` and the test expectation.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"

namespace proxyvpn::netlink {

// Everything of ours carries this protocol number (rtnetlink(7) rtm_protocol, FRA_PROTOCOL), so
// that `down` finds it without a state file. Not in the kernel's or iproute2's list of known
// daemons.
inline constexpr std::uint8_t kProtocolId = 0x70;
// True for a rule or a route in iproute2's words that carries it.
bool is_ours(std::string_view line);
// IFLA_IFALIAS of our link: a link has no protocol number.
inline constexpr const char* kLinkAlias = "proxyvpn";
// Reference's own words for these are 100/200; see docs/architecture.md for why they are options.
inline constexpr std::uint32_t kDefaultTable = 28790;  // "pv" in ASCII
inline constexpr std::uint32_t kDefaultRulePriority = 200;
inline constexpr std::uint32_t kDefaultFallbackPriority =
    32800;  // behind `main` (32766) and `default`

struct Mark {
  std::uint32_t value = 0;
  std::uint32_t mask = 0xffffffff;
  friend bool operator==(const Mark&, const Mark&) = default;
};
std::string to_string(const Mark& mark);  // "0x10000000/0x30000000"

enum class RuleAction : std::uint8_t { Lookup, Unreachable };

struct PolicyRule {
  Family family = Family::V4;
  std::uint32_t priority = 0;
  bool invert = false;  // `not`
  Mark mark{};          // fwmark
  RuleAction action = RuleAction::Lookup;
  std::uint32_t table = 0;  // Lookup only
  friend bool operator==(const PolicyRule&, const PolicyRule&) = default;
};

// Local: delivered to this machine, whatever the destination.
enum class RouteType : std::uint8_t { Unicast, Unreachable, Local };

struct Route {
  Family family = Family::V4;
  RouteType type = RouteType::Unicast;
  std::uint32_t table = kDefaultTable;
  std::uint32_t metric = 0;
  std::string device;  // not for Unreachable; always the default route (0.0.0.0/0 or ::/0)
  friend bool operator==(const Route&, const Route&) = default;
};

inline constexpr std::uint32_t kDefaultMtu = 1500;
// In place of the default where the TUN device does not cut segments: frames are as large as an IP
// packet then, which is what makes the difference (docs/architecture.md).
inline constexpr std::uint32_t kMtuWithoutSegmentation = 65535;

struct LinkSetup {
  std::string name;
  std::uint32_t mtu = kDefaultMtu;
  std::uint32_t tx_queue_length =
      5000;  // packets; the default 500 overflows when many flows close at once
  std::vector<Cidr> addresses;
  // rp_filter=2 on this device alone (IFLA_INET_CONF), addr_gen_mode none, accept_ra 0. The link
  // gets kLinkAlias, so that a device of somebody else with the same name is never taken for ours.
  friend bool operator==(const LinkSetup&, const LinkSetup&) = default;
};

struct RoutingPlan {
  LinkSetup link;
  std::vector<Route> barrier_routes;  // where packets end that find no TUN; before any rule points
                                      // at their table
  std::vector<PolicyRule> rules;
  std::vector<Route> device_routes;  // default dev tun, after the link is up
  friend bool operator==(const RoutingPlan&, const RoutingPlan&) = default;
};

// In `ip` syntax, ready to paste, without the command: "rule add pref 200 fwmark 0x1/0x3 lookup
// 28790 protocol 112". Whether it is `ip -6` is in the family, which to_command() puts in front.
std::string to_string(const PolicyRule& rule);
std::string to_string(const Route& route);
// The whole command line: "ip -6 rule add ...".
std::string to_command(const PolicyRule& rule);
std::string to_command(const Route& route);
// Device alone, created and set up: tuntap, sysctl, link, address, up.
std::vector<std::string> to_commands(const LinkSetup& link);
// Whole command lines, one per element, in the order of docs/architecture.md: barrier routes,
// rules, link, device routes. IPv6 settings of the link are left out when nothing in the plan is
// IPv6.
std::vector<std::string> to_commands(const RoutingPlan& plan);

}  // namespace proxyvpn::netlink
