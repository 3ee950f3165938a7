#include "app/plan.h"

#include <algorithm>
#include <array>

#include "app/inside_links.h"

namespace proxyvpn::app {
namespace {

using netlink::PolicyRule;
using netlink::Route;
using netlink::RouteType;
using netlink::RuleAction;

// Behind every route that a person would add.
constexpr std::uint32_t kBarrierMetric = 0xffffffff;
constexpr std::uint32_t kDeviceMetric = 100;

template <class T>
void append_unique(std::vector<T>& target, const T& value) {
  if (std::find(target.begin(), target.end(), value) == target.end()) target.push_back(value);
}

// A table of its own: in the TUN's it would also be found by what has no mark, behind `main`, and a
// program of a machine without a route would be let to connect to this machine itself.
std::uint32_t barrier_table(const Config& config) { return config.table + 1; }

std::vector<Family> families(const HostFacts& facts) {
  if (facts.network.has_ipv6) return {Family::V4, Family::V6};
  return {Family::V4};
}

// See docs/architecture.md: captured packets into the table; when it has no TUN, to this machine
// itself, where the firewall answers with a reset; and in no case on to `main`. Behind `main`,
// whatever it had no route for, our own connections excepted.
void append_rules(std::vector<PolicyRule>& rules, Family family, const Config& config) {
  const netlink::Mark capture{config.marks.capture, config.marks.mask};
  const netlink::Mark bypass{config.marks.bypass, config.marks.mask};
  rules.push_back({family, config.rule_priority, false, capture, RuleAction::Lookup, config.table});
  rules.push_back({family, config.rule_priority + 1, false, capture, RuleAction::Lookup,
                   barrier_table(config)});
  rules.push_back({family, config.rule_priority + 2, false, capture, RuleAction::Unreachable, 0});
  rules.push_back(
      {family, config.fallback_priority, true, bypass, RuleAction::Lookup, config.table});
}

std::vector<Cidr> tun_addresses(const Config& config, const HostFacts& facts) {
  std::vector<Cidr> addresses{config.tun_cidr};
  if (proxies_ipv6(config, facts)) addresses.push_back(*config.tun_cidr6);
  return addresses;
}

}  // namespace

std::vector<Cidr> lan_networks() {
  static constexpr std::array<const char*, 6> texts{
      "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"};
  std::vector<Cidr> networks;
  for (const auto* text : texts) {
    if (const auto cidr = parse_cidr(text)) networks.push_back(*cidr);
  }
  return networks;
}

std::vector<IpAddress> allowed_resolvers(const Config& config, const HostFacts& facts) {
  std::vector<IpAddress> resolvers;
  for (const auto& address : config.dns.empty() ? facts.resolvers.servers : config.dns) {
    // What listens on this machine is reached over the loopback interface, which is always open.
    if (!dns::is_local_stub(address)) append_unique(resolvers, address);
  }
  return resolvers;
}

bool proxies_ipv6(const Config& config, const HostFacts& facts) {
  return config.tun_cidr6.has_value() && facts.network.has_ipv6 && facts.network.ipv6_on_new_links;
}

unsigned worker_count(const Config& config, unsigned cores) {
  const unsigned wanted = config.workers != 0 ? config.workers : std::min(cores / 2, kMostWorkers);
  return std::max(wanted, 1u);
}

std::vector<Endpoint> proxy_endpoints(const Config& config,
                                      const std::vector<IpAddress>& resolved) {
  std::vector<Endpoint> endpoints;
  for (const auto& address : config.proxy_ips.empty() ? resolved : config.proxy_ips) {
    append_unique(endpoints, Endpoint{address, config.proxy.port});
  }
  return endpoints;
}

netlink::RoutingPlan build_routing(const Config& config, const HostFacts& facts) {
  netlink::RoutingPlan plan;
  plan.link.name = config.tun_name;
  const bool whole = !config.offload && config.mtu == netlink::kDefaultMtu;
  plan.link.mtu = whole ? netlink::kMtuWithoutSegmentation : config.mtu;
  plan.link.addresses = tun_addresses(config, facts);
  for (const Family family : families(facts)) {
    plan.barrier_routes.push_back(
        {family, RouteType::Local, barrier_table(config), kBarrierMetric, "lo"});
    append_rules(plan.rules, family, config);
  }
  for (const auto& address : plan.link.addresses) {
    plan.device_routes.push_back({address.address.family(), RouteType::Unicast, config.table,
                                  kDeviceMetric, config.tun_name});
  }
  return plan;
}

firewall::Policy build_policy(const Config& config, const HostFacts& facts,
                              const std::vector<Endpoint>& proxies) {
  firewall::Policy policy;
  policy.mode = config.killswitch ? firewall::Mode::Guarded : firewall::Mode::Open;
  policy.marks = config.marks;
  policy.tun_name = config.tun_name;
  for (const auto& cidr : tun_addresses(config, facts)) {
    policy.tun_addresses.push_back(cidr.address);
  }
  // The supervisor makes the sockets, and a socket has the user of its maker (socket(7)).
  policy.daemon_uid = facts.capability.euid;
  policy.proxies = proxies;
  policy.resolvers = allowed_resolvers(config, facts);
  policy.direct = config.exclude;
  if (config.allow_lan) {
    for (const auto& network : lan_networks()) append_unique(policy.direct, network);
  }
  policy.exempt_uids = config.exempt_users;
  policy.inside_links = inside_link_names(facts.network);
  policy.inside_networks = inside_networks(facts.network);
  if (config.egress_guard) {
    auto guarded = uplinks(facts.network, config.tun_name);
    policy.guarded_uplinks = std::move(guarded.links);
    policy.guarded_ports = std::move(guarded.ports);
  }
  return policy;
}

HostPlan build_plan(const Config& config, const HostFacts& facts,
                    const std::vector<Endpoint>& proxies, unsigned workers) {
  HostPlan plan;
  plan.policy = build_policy(config, facts, proxies);
  plan.routing = build_routing(config, facts);
  plan.queues = workers;
  plan.offload = config.offload;
  plan.persist_killswitch = config.persist_killswitch;
  return plan;
}

}  // namespace proxyvpn::app
