// What is there already: names, addresses, tables, rules, resolvers.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "app/inside_links.h"
#include "app/plan.h"
#include "app/preflight.h"
#include "netlink/plan.h"

namespace proxyvpn::app {
namespace {

using netlink::LinkInfo;
using netlink::Snapshot;

const LinkInfo* find_link(const Snapshot& network, const std::string& name) {
  const auto it = std::find_if(network.links.begin(), network.links.end(),
                               [&](const LinkInfo& link) { return link.name == name; });
  return it == network.links.end() ? nullptr : &*it;
}

std::string link_name(const Snapshot& network, std::uint32_t index) {
  for (const auto& link : network.links) {
    if (link.index == index) return link.name;
  }
  return "interface " + std::to_string(index);
}

std::string free_tun_name(const Snapshot& network) {
  for (unsigned number = 0;; ++number) {
    auto name = "tun" + std::to_string(number);
    if (find_link(network, name) == nullptr) return name;
  }
}

void check_name(const Config& config, const Snapshot& network, Checks& checks) {
  const auto* link = find_link(network, config.tun_name);
  if (link == nullptr) {
    checks.ok("tun-name", "the name " + config.tun_name + " is free");
    return;
  }
  checks.fail("tun-name",
              "there is already a network interface named '" + config.tun_name + "'" +
                  (link->kind.empty() ? "" : " (" + link->kind + ")"),
              "choose another name, such as --tun-name " + free_tun_name(network));
}

// The first address of this machine whose network overlaps.
const netlink::AddressInfo* find_overlap(const Snapshot& network, const Cidr& cidr,
                                         const std::string& tun_name) {
  for (const auto& address : network.addresses) {
    const bool same_family = address.cidr.address.family() == cidr.address.family();
    if (!same_family || link_name(network, address.link) == tun_name) continue;
    if (address.cidr.overlaps(cidr)) return &address;
  }
  return nullptr;
}

std::string free_range(const Snapshot& network, Family family, const std::string& tun_name) {
  static constexpr std::array<const char*, 4> ranges4{"10.255.255.1/30", "172.31.255.1/30",
                                                      "192.168.255.1/30", "198.18.255.1/30"};
  static constexpr std::array<const char*, 2> ranges6{"fd70:7278:7976::1/126",
                                                      "fd70:7278:7977::1/126"};
  const std::span<const char* const> candidates = family == Family::V4
                                                      ? std::span<const char* const>(ranges4)
                                                      : std::span<const char* const>(ranges6);
  for (const auto* text : candidates) {
    const auto cidr = parse_cidr(text);
    if (cidr && find_overlap(network, *cidr, tun_name) == nullptr) return text;
  }
  return {};
}

// Private use (RFC 1918, RFC 3927, RFC 6598, RFC 2544, RFC 4193): no machine on the internet has
// such an address.
bool is_private(const Cidr& cidr) {
  static constexpr std::array<const char*, 7> private_ranges{
      "10.0.0.0/8",    "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
      "100.64.0.0/10", "198.18.0.0/15", "fc00::/7"};
  return std::any_of(private_ranges.begin(), private_ranges.end(), [&](const char* text) {
    const auto range = parse_cidr(text);
    return range && range->contains(cidr.address) && range->prefix <= cidr.prefix;
  });
}

void check_cidr(const std::string& option, const Cidr& cidr, const Config& config,
                const Snapshot& network, Checks& checks) {
  const std::string name = option.substr(2);  // without the dashes
  const std::string text = option + " " + to_string(cidr);
  if (const auto* other = find_overlap(network, cidr, config.tun_name)) {
    std::string advice = "choose another network";
    const auto range = free_range(network, cidr.address.family(), config.tun_name);
    if (!range.empty()) advice += ", such as " + option + " " + range;
    checks.fail(name,
                text + " overlaps " + to_string(other->cidr.network()) + " of " +
                    link_name(network, other->link),
                std::move(advice));
  }
  if (!is_private(cidr)) {
    checks.warn(name, text +
                          " is not a private network: machines on the internet that have these "
                          "addresses cannot be reached while proxyvpn is up");
  } else if (checks.all().empty() || checks.all().back().name != name) {
    checks.ok(name, to_string(cidr) + " overlaps no network of this machine");
  }
}

void check_table(const Config& config, const Snapshot& network, Checks& checks) {
  const auto& used = network.tables_in_use;
  const auto before = checks.all().size();
  for (const std::uint32_t number : {config.table, config.table + 1}) {
    if (std::find(used.begin(), used.end(), number) == used.end()) continue;
    std::string finding = "route table " + std::to_string(number);
    if (number != config.table) finding += ", the one behind --route-table,";
    finding += " holds routes of another program (ip route show table ";
    finding += std::to_string(number) + ")";
    checks.fail("route-table", std::move(finding), "choose another one with --route-table");
  }
  if (checks.all().size() > before) return;
  checks.ok("route-table", "no other program has routes in the tables " +
                               std::to_string(config.table) + " and " +
                               std::to_string(config.table + 1));
}

// The number in front of "200: from all ...".
std::optional<std::uint32_t> priority(std::string_view rule) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(rule.data(), rule.data() + rule.size(), number);
  if (error != std::errc() || end == rule.data() + rule.size() || *end != ':') return std::nullopt;
  return number;
}

// The value of "fwmark 0x1/0x3" as far as the rule looks at it; 0 when it has none.
std::uint32_t mark_of(std::string_view rule) {
  constexpr std::string_view word = "fwmark 0x";
  const auto at = rule.find(word);
  if (at == std::string_view::npos) return 0;
  std::uint32_t value = 0;
  const auto digits = rule.substr(at + word.size());
  std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  return value;
}

void check_rules(const Config& config, const std::vector<std::string>& rules, const char* family,
                 Checks& checks) {
  for (const auto& rule : rules) {
    const auto number = priority(rule);
    if (!number || netlink::is_ours(rule)) continue;
    const std::string which =
        std::string("the ") + family + " policy rule '" + rule + "' of another program";
    // 0 is `local`: addresses of this machine, which never go into the TUN.
    if (*number != 0 && *number <= config.rule_priority + 2) {
      checks.warn("policy-rules",
                  which + " comes before ours (" + std::to_string(config.rule_priority) +
                      "): what it takes is refused instead of proxied",
                  "use a smaller --rule-priority, or stop that program");
    }
    if ((mark_of(rule) & config.marks.mask) != 0) {
      checks.warn("policy-rules", which + " uses bits of the packet mark that are ours",
                  "choose others with --mark-mask, --mark-capture and --mark-bypass");
    }
  }
}

void check_all_rules(const Config& config, const Snapshot& network, Checks& checks) {
  const auto before = checks.all().size();
  check_rules(config, network.rules, "IPv4", checks);
  check_rules(config, network.rules_v6, "IPv6", checks);
  if (checks.all().size() == before) {
    checks.ok("policy-rules", "no rule of another program is in the way of ours");
  }
}

void check_guests(const Config& config, const Snapshot& network, Checks& checks) {
  const auto guests = unseen_guests(network);
  if (guests.empty()) {
    checks.ok("guests", "no guest sends around this machine's packet filter");
    return;
  }
  std::string names;
  for (const auto& name : guests) names += (names.empty() ? "" : ", ") + name;
  if (config.egress_guard || !config.killswitch) {
    checks.ok("guests", "guests on " + names +
                            (config.egress_guard ? " are stopped by --egress-guard"
                                                 : " send around this machine's packet filter"));
    return;
  }
  checks.warn(
      "guests",
      "guests on " + names + " send around this machine's packet filter and are not covered",
      "--egress-guard stops them");
}

void check_ipv6(const Config& config, const Snapshot& network, Checks& checks) {
  if (!network.has_ipv6) {
    checks.ok("ipv6", "this kernel has no IPv6, or it is switched off");
  } else if (!config.tun_cidr6) {
    checks.ok("ipv6", "IPv6 is refused, as --tun-cidr6 none says");
  } else if (!network.ipv6_on_new_links) {
    checks.warn("ipv6",
                "IPv6 is switched off for new interfaces (net.ipv6.conf.default.disable_ipv6=1): "
                "connections over IPv6 are refused, not proxied");
  } else {
    checks.ok("ipv6", network.has_default_route_v6
                          ? "the machine has IPv6 with a default route, and it is proxied too"
                          : "the machine has IPv6 without a default route; it is proxied too");
  }
}

std::string join(const std::vector<IpAddress>& addresses, const char* separator) {
  std::string text;
  for (const auto& address : addresses) {
    text += (text.empty() ? "" : separator) + to_string(address);
  }
  return text;
}

bool is_own_address(const Snapshot& network, const IpAddress& address) {
  return address.is_loopback() ||
         std::any_of(network.addresses.begin(), network.addresses.end(),
                     [&](const auto& own) { return own.cidr.address == address; });
}

}  // namespace

void check_free(const Config& config, const HostFacts& facts, Checks& checks) {
  check_name(config, facts.network, checks);
  check_table(config, facts.network, checks);
}

void check_network(const Config& config, const HostFacts& facts, Checks& checks) {
  const auto& network = facts.network;
  check_cidr("--tun-cidr", config.tun_cidr, config, network, checks);
  if (proxies_ipv6(config, facts)) {
    check_cidr("--tun-cidr6", *config.tun_cidr6, config, network, checks);
  }
  check_ipv6(config, network, checks);
  check_all_rules(config, network, checks);
  check_guests(config, network, checks);
}

namespace {

// Resolvers that were given: does anybody on this machine ask them?
void check_given_resolvers(const Config& config, const HostFacts& facts, Checks& checks) {
  const auto& system = facts.resolvers;
  const bool asked = std::any_of(system.servers.begin(), system.servers.end(), [&](const auto& a) {
    return std::find(config.dns.begin(), config.dns.end(), a) != config.dns.end();
  });
  if (facts.resolvers_error || asked || system.servers.empty()) {
    checks.ok("resolvers", join(config.dns, ", ") + ", as given");
    return;
  }
  checks.warn(
      "resolvers",
      "this machine asks " + join(system.servers, ", ") +
          " for names, which --dns and --allow-dns do not allow, so names cannot be "
          "looked up",
      "add --allow-dns " + join(system.servers, " --allow-dns ") + ", or change /etc/resolv.conf");
}

void check_system_resolvers(const Config& config, const HostFacts& facts, Checks& checks) {
  const auto& system = facts.resolvers;
  const auto allowed = allowed_resolvers(config, facts);
  if (system.upstreams_known && !allowed.empty()) {
    checks.ok("resolvers", join(allowed, ", ") + (system.only_loopback_stub
                                                      ? ", which the stub on this machine asks"
                                                      : ", from /etc/resolv.conf"));
    return;
  }
  for (const auto& note : system.notes) checks.warn("resolvers", note);
  if (system.notes.empty()) {
    checks.warn("resolvers",
                "no resolver is known, so no name can be looked up while proxyvpn is up",
                "name one with --dns");
  }
}

}  // namespace

void check_resolvers(const Config& config, const HostFacts& facts, Checks& checks) {
  if (config.dns.empty() && facts.resolvers_error) {
    checks.fail("resolvers",
                "the system's resolvers are unknown: " + facts.resolvers_error->message,
                "name them with --dns");
    return;
  }
  for (const auto& resolver : allowed_resolvers(config, facts)) {
    if (config.tun_cidr.contains(resolver) ||
        (proxies_ipv6(config, facts) && config.tun_cidr6->contains(resolver))) {
      checks.fail("resolvers",
                  "the resolver " + to_string(resolver) + " lies within the TUN's own network",
                  "choose another one with --tun-cidr or --tun-cidr6");
    }
  }
  if (!config.killswitch) {
    checks.ok("resolvers", "without the killswitch, names are looked up as before");
  } else if (config.dns.empty()) {
    check_system_resolvers(config, facts, checks);
  } else {
    check_given_resolvers(config, facts, checks);
  }
}

void check_proxies(const Config& config, const HostFacts& facts,
                   const std::vector<Endpoint>& proxies, Checks& checks) {
  const std::string name = "proxy-address";
  const auto before = checks.all().size();
  if (proxies.empty()) {
    checks.fail(name, "the proxy '" + config.proxy.host + "' has no address",
                "give one with --proxy-ip");
  }
  for (const auto& proxy : proxies) {
    const auto& address = proxy.address;
    const std::string which = "the proxy's address " + to_string(address);
    if (address.is_unspecified() || address.is_multicast()) {
      checks.fail(name, which + " is not that of one machine", "give another with --proxy-ip");
    } else if (config.tun_cidr.contains(address) ||
               (config.tun_cidr6 && config.tun_cidr6->contains(address))) {
      checks.fail(name, which + " lies within the TUN's own network",
                  "choose another one with --tun-cidr or --tun-cidr6");
    } else if (is_own_address(facts.network, address) && config.exempt_users.empty()) {
      checks.warn(name,
                  "the proxy " + to_string(proxy) +
                      " runs on this machine: its own connections would come back to it",
                  "name the user it runs as with --exempt-user");
    }
  }
  if (checks.all().size() > before) return;
  std::string all;
  for (const auto& proxy : proxies) all += (all.empty() ? "" : ", ") + to_string(proxy);
  checks.ok(name, config.proxy.host + " is " + all);
}

}  // namespace proxyvpn::app
