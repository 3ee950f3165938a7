#include "netlink/plan.h"

#include <gtest/gtest.h>

namespace proxyvpn::netlink {
namespace {

constexpr Mark kCapture{0x10000000, 0x30000000};
constexpr Mark kBypass{0x20000000, 0x30000000};

PolicyRule lookup(Family family, std::uint32_t priority, Mark mark, bool invert = false) {
  PolicyRule rule;
  rule.family = family;
  rule.priority = priority;
  rule.mark = mark;
  rule.invert = invert;
  rule.table = kDefaultTable;
  return rule;
}

PolicyRule unreachable(Family family, std::uint32_t priority, Mark mark) {
  PolicyRule rule = lookup(family, priority, mark);
  rule.action = RuleAction::Unreachable;
  rule.table = 0;
  return rule;
}

Route barrier(Family family) {
  return {family, RouteType::Unreachable, kDefaultTable, 4294967295u, ""};
}

Route through(Family family, const std::string& device) {
  return {family, RouteType::Unicast, kDefaultTable, 100, device};
}

RoutingPlan whole_plan(bool with_v6) {
  RoutingPlan plan;
  plan.link.name = "tun0";
  plan.link.addresses = {*parse_cidr("10.255.255.1/30")};
  if (with_v6) plan.link.addresses.push_back(*parse_cidr("fd70:7278:7976::1/126"));
  for (const Family family : {Family::V4, Family::V6}) {
    if (family == Family::V6 && !with_v6) continue;
    plan.barrier_routes.push_back(barrier(family));
    plan.rules.push_back(lookup(family, 200, kCapture));
    plan.rules.push_back(unreachable(family, 201, kCapture));
    plan.rules.push_back(lookup(family, 32800, kBypass, true));
    plan.device_routes.push_back(through(family, "tun0"));
  }
  return plan;
}

TEST(Plan, MarkShowsItsMaskUnlessItIsWhole) {
  EXPECT_EQ("0x10000000/0x30000000", to_string(kCapture));
  EXPECT_EQ("0x1", to_string(Mark{1, 0xffffffff}));
  EXPECT_EQ("0x0/0x0", to_string(Mark{0, 0}));
}

TEST(Plan, RulesAreIpRuleArguments) {
  EXPECT_EQ("rule add pref 200 fwmark 0x10000000/0x30000000 lookup 28790 protocol 112",
            to_string(lookup(Family::V4, 200, kCapture)));
  EXPECT_EQ("rule add pref 201 fwmark 0x10000000/0x30000000 unreachable protocol 112",
            to_string(unreachable(Family::V4, 201, kCapture)));
  EXPECT_EQ("ip -6 rule add pref 32800 not fwmark 0x20000000/0x30000000 lookup 28790 protocol 112",
            to_command(lookup(Family::V6, 32800, kBypass, true)));
}

TEST(Plan, RoutesAreIpRouteArguments) {
  EXPECT_EQ("route add unreachable default table 28790 metric 4294967295 protocol 112",
            to_string(barrier(Family::V4)));
  EXPECT_EQ("route add local default dev lo table 28791 metric 4294967295 protocol 112",
            to_string(Route{Family::V6, RouteType::Local, 28791, 4294967295u, "lo"}));
  EXPECT_EQ("ip -6 route add default dev tun0 table 28790 metric 100 protocol 112",
            to_command(through(Family::V6, "tun0")));
  Route without_metric = through(Family::V4, "tun7");
  without_metric.metric = 0;
  EXPECT_EQ("route add default dev tun7 table 28790 protocol 112", to_string(without_metric));
}

TEST(Plan, CommandsStandInTheOrderOfTheStartUp) {
  const std::vector<std::string> expected = {
      "ip route add unreachable default table 28790 metric 4294967295 protocol 112",
      "ip -6 route add unreachable default table 28790 metric 4294967295 protocol 112",
      "ip rule add pref 200 fwmark 0x10000000/0x30000000 lookup 28790 protocol 112",
      "ip rule add pref 201 fwmark 0x10000000/0x30000000 unreachable protocol 112",
      "ip rule add pref 32800 not fwmark 0x20000000/0x30000000 lookup 28790 protocol 112",
      "ip -6 rule add pref 200 fwmark 0x10000000/0x30000000 lookup 28790 protocol 112",
      "ip -6 rule add pref 201 fwmark 0x10000000/0x30000000 unreachable protocol 112",
      "ip -6 rule add pref 32800 not fwmark 0x20000000/0x30000000 lookup 28790 protocol 112",
      "ip tuntap add dev tun0 mode tun",
      "ip link set dev tun0 alias proxyvpn mtu 1500 txqueuelen 5000",
      "sysctl -w net.ipv4.conf.tun0.rp_filter=2",
      "ip link set dev tun0 addrgenmode none",
      "sysctl -w net.ipv6.conf.tun0.accept_ra=0",
      "ip address add 10.255.255.1/30 dev tun0",
      "ip -6 address add fd70:7278:7976::1/126 dev tun0 nodad",
      "ip link set dev tun0 up",
      "ip route add default dev tun0 table 28790 metric 100 protocol 112",
      "ip -6 route add default dev tun0 table 28790 metric 100 protocol 112",
  };
  EXPECT_EQ(expected, to_commands(whole_plan(true)));
}

TEST(Plan, CommandsWithoutIpv6SayNothingOfIt) {
  for (const std::string& line : to_commands(whole_plan(false))) {
    EXPECT_EQ(std::string::npos, line.find("-6")) << line;
    EXPECT_EQ(std::string::npos, line.find("ipv6")) << line;
    EXPECT_EQ(std::string::npos, line.find("addrgenmode")) << line;
  }
  EXPECT_EQ(10u, to_commands(whole_plan(false)).size());
}

TEST(Plan, SysctlOfADeviceWithADotIsWrittenWithSlashes) {
  LinkSetup link;
  link.name = "tun.1";
  const auto lines = to_commands(link);
  EXPECT_EQ("sysctl -w net/ipv4/conf/tun.1/rp_filter=2", lines[2]);
  EXPECT_EQ("sysctl -w net/ipv6/conf/tun.1/accept_ra=0", lines[4]);
}

}  // namespace
}  // namespace proxyvpn::netlink
