#include "app/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/inside_links.h"
#include "testing/addresses.h"

namespace proxyvpn::app {
namespace {

using proxyvpn::testing::cidr;
using proxyvpn::testing::ip;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string> texts(const std::vector<Cidr>& cidrs) {
  std::vector<std::string> result;
  for (const auto& one : cidrs) result.push_back(to_string(one));
  return result;
}

Config basic_config() {
  Config config;
  config.proxy.host = "proxy.example";
  config.proxy.port = 3128;
  config.tun_cidr = cidr("10.255.255.1/30");
  config.tun_cidr6 = cidr("fd70:7278:7976::1/126");
  return config;
}

HostFacts basic_facts() {
  HostFacts facts;
  facts.network.has_ipv6 = true;
  facts.network.ipv6_on_new_links = true;
  facts.capability.euid = 1000;
  facts.resolvers.servers = {ip("192.0.2.53")};
  return facts;
}

std::vector<std::string> commands(const netlink::RoutingPlan& plan) {
  std::vector<std::string> lines;
  for (const auto& route : plan.barrier_routes) lines.push_back(to_command(route));
  for (const auto& rule : plan.rules) lines.push_back(to_command(rule));
  for (const auto& route : plan.device_routes) lines.push_back(to_command(route));
  return lines;
}

TEST(Routing, IsTheOneThatHoldsAgainstLeaks) {
  EXPECT_THAT(
      commands(build_routing(basic_config(), basic_facts())),
      ElementsAre(
          "ip route add local default dev lo table 28791 metric 4294967295 protocol 112",
          "ip -6 route add local default dev lo table 28791 metric 4294967295 protocol 112",
          "ip rule add pref 200 fwmark 0x10000000/0x30000000 lookup 28790 protocol 112",
          "ip rule add pref 201 fwmark 0x10000000/0x30000000 lookup 28791 protocol 112",
          "ip rule add pref 202 fwmark 0x10000000/0x30000000 unreachable protocol 112",
          "ip rule add pref 32800 not fwmark 0x20000000/0x30000000 lookup 28790 protocol 112",
          "ip -6 rule add pref 200 fwmark 0x10000000/0x30000000 lookup 28790 protocol 112",
          "ip -6 rule add pref 201 fwmark 0x10000000/0x30000000 lookup 28791 protocol 112",
          "ip -6 rule add pref 202 fwmark 0x10000000/0x30000000 unreachable protocol 112",
          "ip -6 rule add pref 32800 not fwmark 0x20000000/0x30000000 lookup 28790 protocol 112",
          "ip route add default dev tun0 table 28790 metric 100 protocol 112",
          "ip -6 route add default dev tun0 table 28790 metric 100 protocol 112"));
}

TEST(Routing, WithoutOffloadTheDefaultMtuBecomesTheLargest) {
  auto config = basic_config();
  EXPECT_EQ(build_routing(config, basic_facts()).link.mtu, 1500u);
  config.offload = false;
  EXPECT_EQ(build_routing(config, basic_facts()).link.mtu, 65535u);
  config.mtu = 9000;
  EXPECT_EQ(build_routing(config, basic_facts()).link.mtu, 9000u);
}

TEST(Routing, FollowsTheOptions) {
  auto config = basic_config();
  config.tun_name = "vpn9";
  config.table = 100;
  config.rule_priority = 1000;
  config.fallback_priority = 40000;
  config.marks = {3, 1, 2, 3};
  config.mtu = 9000;
  auto facts = basic_facts();
  facts.network.has_ipv6 = false;
  const auto plan = build_routing(config, facts);
  EXPECT_THAT(
      commands(plan),
      ElementsAre("ip route add local default dev lo table 101 metric 4294967295 protocol 112",
                  "ip rule add pref 1000 fwmark 0x1/0x3 lookup 100 protocol 112",
                  "ip rule add pref 1001 fwmark 0x1/0x3 lookup 101 protocol 112",
                  "ip rule add pref 1002 fwmark 0x1/0x3 unreachable protocol 112",
                  "ip rule add pref 40000 not fwmark 0x2/0x3 lookup 100 protocol 112",
                  "ip route add default dev vpn9 table 100 metric 100 protocol 112"));
  EXPECT_EQ(plan.link.name, "vpn9");
  EXPECT_EQ(plan.link.mtu, 9000u);
  EXPECT_THAT(texts(plan.link.addresses), ElementsAre("10.255.255.1/30"));
}

// IPv6 that is not proxied must be refused, not left to `main`.
TEST(Routing, Ipv6WithoutAnAddressOnTheTunKeepsItsBarrier) {
  auto config = basic_config();
  config.tun_cidr6.reset();
  const auto plan = build_routing(config, basic_facts());
  EXPECT_EQ(plan.rules.size(), 8u);
  EXPECT_EQ(plan.barrier_routes.size(), 2u);
  EXPECT_EQ(plan.device_routes.size(), 1u);
  auto facts = basic_facts();
  facts.network.ipv6_on_new_links = false;
  EXPECT_EQ(build_routing(basic_config(), facts), plan);
}

TEST(Policy, HoldsTheDaemonTheProxyAndTheResolvers) {
  const std::vector<Endpoint> proxies{{ip("192.0.2.10"), 3128}, {ip("2001:db8::10"), 3128}};
  const auto policy = build_policy(basic_config(), basic_facts(), proxies);
  EXPECT_EQ(policy.mode, firewall::Mode::Guarded);
  EXPECT_EQ(policy.daemon_uid, 1000u);
  EXPECT_EQ(policy.proxies, proxies);
  EXPECT_THAT(policy.resolvers, ElementsAre(ip("192.0.2.53")));
  EXPECT_THAT(policy.tun_addresses, ElementsAre(ip("10.255.255.1"), ip("fd70:7278:7976::1")));
  EXPECT_THAT(policy.direct, IsEmpty());
  EXPECT_THAT(policy.keep, IsEmpty());
  EXPECT_THAT(policy.guarded_uplinks, IsEmpty());
  auto open = basic_config();
  open.killswitch = false;
  EXPECT_EQ(build_policy(open, basic_facts(), proxies).mode, firewall::Mode::Open);
}

TEST(Policy, GivenResolversReplaceThoseOfTheSystem) {
  auto config = basic_config();
  config.dns = {ip("8.8.8.8"), ip("8.8.4.4"), ip("8.8.8.8"), ip("127.0.0.53")};
  EXPECT_THAT(allowed_resolvers(config, basic_facts()), ElementsAre(ip("8.8.8.8"), ip("8.8.4.4")));
}

TEST(Policy, AllowLanIsAFixedListBesideTheExclusions) {
  auto config = basic_config();
  config.exclude = {cidr("203.0.113.0/24"), cidr("10.0.0.0/8")};
  config.allow_lan = true;
  EXPECT_THAT(texts(build_policy(config, basic_facts(), {}).direct),
              ElementsAre("203.0.113.0/24", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                          "169.254.0.0/16", "fc00::/7", "fe80::/10"));
}

TEST(Plan, CarriesWhatIsNotPolicy) {
  auto config = basic_config();
  config.offload = false;
  config.persist_killswitch = true;
  const auto plan = build_plan(config, basic_facts(), {}, 3);
  EXPECT_EQ(plan.queues, 3u);
  EXPECT_FALSE(plan.offload);
  EXPECT_TRUE(plan.persist_killswitch);
}

TEST(Plan, WorkersAreThoseAskedForOrOneForTwoCores) {
  Config config;
  EXPECT_EQ(worker_count(config, 4), 2u);
  EXPECT_EQ(worker_count(config, 2), 1u);
  EXPECT_EQ(worker_count(config, 1), 1u);
  EXPECT_EQ(worker_count(config, 0), 1u);
  EXPECT_EQ(worker_count(config, 128), kMostWorkers);
  config.workers = 3;
  EXPECT_EQ(worker_count(config, 2), 3u);
}

TEST(Plan, ProxyAddressesAreThoseGivenOrThoseResolved) {
  auto config = basic_config();
  EXPECT_THAT(proxy_endpoints(config, {ip("192.0.2.1"), ip("192.0.2.1"), ip("2001:db8::1")}),
              ElementsAre(Endpoint{ip("192.0.2.1"), 3128}, Endpoint{ip("2001:db8::1"), 3128}));
  config.proxy_ips = {ip("192.0.2.9")};
  EXPECT_THAT(proxy_endpoints(config, {ip("192.0.2.1")}),
              ElementsAre(Endpoint{ip("192.0.2.9"), 3128}));
}

// A machine with docker, a bridge with a virtual machine on the wire, a container by hand and a
// VPN.
netlink::Snapshot busy_machine() {
  netlink::Snapshot network;
  const auto link = [&](std::uint32_t index, const char* name, const char* kind,
                        std::uint32_t master = 0, bool lower = false) {
    netlink::LinkInfo info;
    info.index = index;
    info.name = name;
    info.kind = kind;
    info.up = true;
    info.loopback = index == 1;
    info.master = master;
    info.has_lower = lower;
    network.links.push_back(info);
  };
  link(1, "lo", "");
  link(2, "eth0", "");
  link(3, "eth1", "", 6);
  link(4, "docker0", "bridge");
  link(5, "veth1a2b", "veth", 4);
  link(6, "br0", "bridge");
  link(7, "vnet0", "tun", 6);
  link(8, "mac0", "macvlan", 0, true);
  link(9, "ctr0", "veth");
  link(10, "virbr0", "bridge");
  link(11, "bad;name", "bridge");
  link(12, "wg0", "wireguard");
  link(13, "tun0", "tun");
  network.addresses = {{2, cidr("192.0.2.5/24")},      {4, cidr("172.17.0.1/16")},
                       {4, cidr("fe80::1/64")},        {6, cidr("10.1.0.1/24")},
                       {10, cidr("192.168.122.1/24")}, {11, cidr("10.66.0.1/24")}};
  network.default_route_links = {2};
  return network;
}

TEST(InsideLinks, AreBridgesThatLeadToGuestsOnly) {
  const auto network = busy_machine();
  EXPECT_THAT(inside_link_names(network), ElementsAre("docker0", "virbr0"));
  EXPECT_THAT(texts(inside_networks(network)), ElementsAre("172.17.0.0/16", "192.168.122.0/24"));
}

TEST(InsideLinks, ABridgeWithTheDefaultRouteLeadsOut) {
  auto network = busy_machine();
  network.default_route_links = {4};
  EXPECT_THAT(inside_link_names(network), ElementsAre("virbr0"));
}

TEST(Uplinks, AreHardwareAndWhatCarriesADefaultRoute) {
  auto network = busy_machine();
  auto guarded = uplinks(network, "tun0");
  EXPECT_THAT(guarded.links, ElementsAre("eth0"));
  EXPECT_THAT(guarded.ports, ElementsAre("eth1"));
  network.default_route_links = {9, 12, 13};
  guarded = uplinks(network, "tun0");
  EXPECT_THAT(guarded.links, ElementsAre("eth0", "ctr0", "wg0"));
}

TEST(Uplinks, AreInThePolicyWhenAskedFor) {
  auto config = basic_config();
  config.egress_guard = true;
  auto facts = basic_facts();
  facts.network = busy_machine();
  const auto policy = build_policy(config, facts, {});
  EXPECT_THAT(policy.guarded_uplinks, ElementsAre("eth0"));
  EXPECT_THAT(policy.guarded_ports, ElementsAre("eth1"));
  EXPECT_THAT(policy.inside_links, Not(IsEmpty()));
}

TEST(UnseenGuests, AreMacvlanAndThoseOnABridgeWithAWire) {
  EXPECT_THAT(unseen_guests(busy_machine()), ElementsAre("mac0", "vnet0"));
  EXPECT_THAT(unseen_guests({}), IsEmpty());
}

}  // namespace
}  // namespace proxyvpn::app
