// What is there already: names, addresses, tables, rules, resolvers.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "app/inside_links.h"
#include "app/plan.h"
#include "app/preflight.h"

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

void check_name(const Config& config, const Snapshot& network, Findings& findings) {
  const auto* link = find_link(network, config.tun_name);
  if (link == nullptr) return;
  findings.errors.push_back("there is already a network interface named '" + config.tun_name + "'" +
                            (link->kind.empty() ? "" : " (" + link->kind + ")") +
                            "; choose another name, such as --tun-name " + free_tun_name(network));
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

void check_cidr(const char* option, const Cidr& cidr, const Config& config, const Snapshot& network,
                Findings& findings) {
  if (const auto* other = find_overlap(network, cidr, config.tun_name)) {
    std::string sentence = std::string(option) + " " + to_string(cidr) + " overlaps " +
                           to_string(other->cidr.network()) + " of " +
                           link_name(network, other->link) + "; choose another network";
    const auto range = free_range(network, cidr.address.family(), config.tun_name);
    if (!range.empty()) sentence += ", such as " + std::string(option) + " " + range;
    findings.errors.push_back(std::move(sentence));
  }
  if (!is_private(cidr)) {
    findings.warnings.push_back(std::string(option) + " " + to_string(cidr) +
                                " is not a private network: machines on the internet that have "
                                "these addresses cannot be reached while proxyvpn is up");
  }
}

void check_table(const Config& config, const Snapshot& network, Findings& findings) {
  const auto& used = network.tables_in_use;
  for (const std::uint32_t table : {config.table, config.table + 1}) {
    if (std::find(used.begin(), used.end(), table) == used.end()) continue;
    const bool second = table != config.table;
    findings.errors.push_back("route table " + std::to_string(table) +
                              (second ? ", the one behind --route-table," : "") +
                              " holds routes of another program (ip route show table " +
                              std::to_string(table) + "); choose another one with --route-table");
  }
}

bool is_ours(std::string_view rule) {
  return rule.find(" proto " + std::to_string(netlink::kProtocolId)) != std::string_view::npos;
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
                 Findings& findings) {
  for (const auto& rule : rules) {
    const auto number = priority(rule);
    if (!number || is_ours(rule)) continue;
    // 0 is `local`: addresses of this machine, which never go into the TUN.
    if (*number != 0 && *number <= config.rule_priority + 2) {
      findings.warnings.push_back(std::string("the ") + family + " policy rule '" + rule +
                                  "' of another program comes before ours (" +
                                  std::to_string(config.rule_priority) +
                                  "): what it takes is refused instead of proxied; use a smaller "
                                  "--rule-priority, or stop that program");
    }
    if ((mark_of(rule) & config.marks.mask) != 0) {
      findings.warnings.push_back(std::string("the ") + family + " policy rule '" + rule +
                                  "' of another program uses bits of the packet mark that are "
                                  "ours; choose others with --mark-mask, --mark-capture and "
                                  "--mark-bypass");
    }
  }
}

void check_guests(const Config& config, const Snapshot& network, Findings& findings) {
  const auto guests = unseen_guests(network);
  if (guests.empty() || config.egress_guard || !config.killswitch) return;
  std::string names;
  for (const auto& name : guests) names += (names.empty() ? "" : ", ") + name;
  findings.warnings.push_back("guests on " + names +
                              " send around this machine's packet filter and are not covered; "
                              "--egress-guard stops them");
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

void check_network(const Config& config, const HostFacts& facts, Findings& findings) {
  if (facts.network_error) {
    findings.errors.push_back("the machine's network cannot be looked at: " +
                              facts.network_error->message);
    return;
  }
  const auto& network = facts.network;
  check_name(config, network, findings);
  check_cidr("--tun-cidr", config.tun_cidr, config, network, findings);
  if (proxies_ipv6(config, facts)) {
    check_cidr("--tun-cidr6", *config.tun_cidr6, config, network, findings);
  }
  if (config.tun_cidr6 && network.has_ipv6 && !network.ipv6_on_new_links) {
    findings.warnings.push_back(
        "IPv6 is switched off for new interfaces (net.ipv6.conf.default.disable_ipv6=1): "
        "connections over IPv6 are refused, not proxied");
  }
  check_table(config, network, findings);
  check_rules(config, network.rules, "IPv4", findings);
  check_rules(config, network.rules_v6, "IPv6", findings);
  check_guests(config, network, findings);
}

void check_resolvers(const Config& config, const HostFacts& facts, Findings& findings) {
  if (config.dns.empty() && facts.resolvers_error) {
    findings.errors.push_back("the system's resolvers are unknown: " +
                              facts.resolvers_error->message + "; name them with --dns");
    return;
  }
  for (const auto& resolver : allowed_resolvers(config, facts)) {
    if (config.tun_cidr.contains(resolver) ||
        (proxies_ipv6(config, facts) && config.tun_cidr6->contains(resolver))) {
      findings.errors.push_back("the resolver " + to_string(resolver) +
                                " lies within the TUN's own network; choose another one with "
                                "--tun-cidr or --tun-cidr6");
    }
  }
  if (!config.killswitch) return;  // names are looked up as before
  const auto& system = facts.resolvers;
  if (config.dns.empty()) {
    if (!system.upstreams_known || allowed_resolvers(config, facts).empty()) {
      for (const auto& note : system.notes) findings.warnings.push_back(note);
      if (system.notes.empty()) {
        findings.warnings.push_back(
            "no resolver is known, so no name can be looked up while proxyvpn is up; name one with "
            "--dns");
      }
    }
    return;
  }
  // Given ones only: does anybody on this machine ask them?
  const bool asked = std::any_of(system.servers.begin(), system.servers.end(), [&](const auto& a) {
    return std::find(config.dns.begin(), config.dns.end(), a) != config.dns.end();
  });
  if (facts.resolvers_error || asked || system.servers.empty()) return;
  findings.warnings.push_back("this machine asks " + join(system.servers, ", ") +
                              " for names, which --dns and --allow-dns do not allow, so names "
                              "cannot be looked up; add --allow-dns " +
                              join(system.servers, " --allow-dns ") +
                              ", or change /etc/resolv.conf");
}

Findings check_proxies(const Config& config, const HostFacts& facts,
                       const std::vector<Endpoint>& proxies) {
  Findings findings;
  if (proxies.empty()) {
    findings.errors.push_back("the proxy '" + config.proxy.host +
                              "' has no address; give one with --proxy-ip");
  }
  for (const auto& proxy : proxies) {
    const auto& address = proxy.address;
    if (address.is_unspecified() || address.is_multicast()) {
      findings.errors.push_back("the proxy's address " + to_string(address) +
                                " is not that of one machine; give another with --proxy-ip");
    } else if (config.tun_cidr.contains(address) ||
               (config.tun_cidr6 && config.tun_cidr6->contains(address))) {
      findings.errors.push_back("the proxy's address " + to_string(address) +
                                " lies within the TUN's own network; choose another one with "
                                "--tun-cidr or --tun-cidr6");
    } else if (is_own_address(facts.network, address) && config.exempt_users.empty()) {
      findings.warnings.push_back(
          "the proxy " + to_string(proxy) +
          " runs on this machine: its own connections would come back to it; name the user it "
          "runs as with --exempt-user");
    }
  }
  return findings;
}

}  // namespace proxyvpn::app
