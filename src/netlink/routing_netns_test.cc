// Routing against the real kernel. What stands there is read with iproute2, not with our own eyes.
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "netlink/netlink_socket.h"
#include "netlink/routing_test_fixture.h"
#include "netlink/rule_codec.h"

namespace proxyvpn::netlink {
namespace {

TEST_F(RoutingNetns, WholePlanStandsAsIpSaysIt) {
  apply(whole_plan());
  expect_plan_stands();
  EXPECT_EQ(true, *routing_->complete(whole_plan()));
}

TEST_F(RoutingNetns, PlanAppliedTwiceIsThePlan) {
  apply(whole_plan());
  apply(whole_plan());
  expect_plan_stands();
}

TEST_F(RoutingNetns, LinkIsSetUpWholly) {
  apply(whole_plan());
  const std::string link = text_of("ip -d link show dev tun0");
  for (const char* part : {"mtu 1500", "qlen 5000", "addrgenmode none", "alias proxyvpn", ",UP"})
    EXPECT_NE(std::string::npos, link.find(part)) << part << " is missing in " << link;
  const std::string addresses = text_of("ip -o address show dev tun0");
  EXPECT_NE(std::string::npos, addresses.find("inet 10.255.255.1/30")) << addresses;
  EXPECT_NE(std::string::npos, addresses.find("inet6 fd70:7278:7976::1/126")) << addresses;
  EXPECT_EQ(std::string::npos, addresses.find("fe80")) << addresses;
  EXPECT_EQ(std::string::npos, addresses.find("tentative")) << addresses;
  EXPECT_EQ("2", read_file("/proc/sys/net/ipv4/conf/tun0/rp_filter"));
  EXPECT_EQ("0", read_file("/proc/sys/net/ipv6/conf/tun0/accept_ra"));
}

TEST_F(RoutingNetns, RemovedPieceByPieceLeavesTheMachineAsItWas) {
  const std::string before = machine();
  const RoutingPlan plan = whole_plan();
  apply(plan);
  for (int twice = 0; twice < 2; ++twice) {
    for (const auto& route : plan.device_routes) EXPECT_TRUE(ok(routing_->remove(route)));
    for (const auto& rule : plan.rules) EXPECT_TRUE(ok(routing_->remove(rule)));
    for (const auto& route : plan.barrier_routes) EXPECT_TRUE(ok(routing_->remove(route)));
    EXPECT_TRUE(ok(routing_->remove_tun("tun0")));
  }
  EXPECT_EQ(before, machine());
}

TEST_F(RoutingNetns, AfterACrashEverythingOfOursIsFoundAndNothingElse) {
  text_of("ip rule add pref 150 from 192.0.2.0/24 lookup 77");
  text_of("ip rule add pref 200 fwmark 0x10000000/0x30000000 lookup 28790 protocol static");
  text_of("ip route add unreachable 198.51.100.0/24 table 28790");
  text_of("ip -6 rule add pref 150 to 2001:db8::/32 lookup 77");
  const std::string before = machine();
  apply(whole_plan());
  // Twice the same rule, and one of ours that no plan knows: in another table, with other
  // selectors.
  text_of("ip rule add pref 300 iif lo tos 0x10 lookup 4711 suppress_prefixlength 0 protocol 112");
  text_of("ip route add 203.0.113.0/24 dev lo table 4711 proto 112");
  text_of("ip -6 route add 2001:db8:1::/48 dev lo table 4711 metric 7 proto 112");
  tun_.reset();  // the process died: its device goes, its device routes with it
  auto fresh = open_routing();
  ASSERT_TRUE(ok(fresh));
  const auto removed = (*fresh)->remove_all_of_ours();
  ASSERT_TRUE(ok(removed));
  EXPECT_EQ(6u + 2u + 3u, *removed);
  EXPECT_EQ(before, machine());
  EXPECT_EQ(0u, *(*fresh)->remove_all_of_ours());
}

// Only NLM_F_EXCL keeps the kernel from holding a rule twice; iproute2 gives it, others don't.
TEST_F(RoutingNetns, ARuleThatStandsThereManyTimesIsRemovedEveryTime) {
  const std::string before = machine();
  const PolicyRule rule = whole_plan().rules[0];
  const auto three_times = [&] {
    auto socket = NetlinkSocket::open(NETLINK_ROUTE);
    ASSERT_TRUE(ok(socket));
    for (int i = 0; i < 3; ++i) {
      Message message = rule_message(rule, RTM_NEWRULE, NLM_F_CREATE);
      ASSERT_TRUE(ok(socket->request(message, "again")));
    }
    EXPECT_EQ("3\n", text_of("ip rule show pref 200 | wc -l"));
  };
  three_times();
  EXPECT_TRUE(ok(routing_->remove(rule)));
  EXPECT_EQ(before, machine());
  three_times();
  EXPECT_EQ(3u, *routing_->remove_all_of_ours());
  EXPECT_EQ(before, machine());
}

TEST_F(RoutingNetns, CompleteNoticesEachMissingPiece) {
  const RoutingPlan plan = whole_plan();
  apply(plan);
  for (const char* damage :
       {"ip rule del pref 200", "ip rule del pref 201", "ip rule del pref 32800",
        "ip -6 rule del pref 200", "ip -6 rule del pref 201", "ip -6 rule del pref 32800",
        "ip route del unreachable default table 28790 metric 4294967295",
        "ip -6 route del unreachable default table 28790 metric 4294967295",
        "ip route del default dev tun0 table 28790", "ip -6 route del default dev tun0 table 28790",
        "ip route flush table 28790", "ip link set dev tun0 down"}) {
    text_of(damage);
    EXPECT_EQ(false, *routing_->complete(plan)) << damage;
    apply(plan);
    EXPECT_EQ(true, *routing_->complete(plan)) << "mended after " << damage;
  }
  tun_.reset();
  EXPECT_EQ(false, *routing_->complete(plan));
}

TEST_F(RoutingNetns, ARuleOfTheSameWordsBySomebodyElseIsNotTakenForOurs) {
  const PolicyRule rule = whole_plan().rules[0];
  text_of("ip rule add pref 200 fwmark 0x10000000/0x30000000 lookup 28790");
  RoutingPlan plan;
  plan.rules = {rule};
  EXPECT_EQ(false, *routing_->complete(plan));
  ASSERT_TRUE(ok(routing_->add(rule)));
  EXPECT_EQ(true, *routing_->complete(plan));
  ASSERT_TRUE(ok(routing_->remove(rule)));
  EXPECT_EQ("200:\tfrom all fwmark 0x10000000/0x30000000 lookup 28790\n",
            text_of("ip rule show pref 200"));
}

TEST_F(RoutingNetns, ARuleThatDiffersOnlyInNotIsAnotherRule) {
  PolicyRule rule = whole_plan().rules[0];
  rule.invert = true;
  text_of("ip rule add pref 200 fwmark 0x10000000/0x30000000 lookup 28790 protocol 112");
  ASSERT_TRUE(ok(routing_->add(rule)));
  EXPECT_NE(std::string::npos, text_of("ip rule show pref 200").find("not from all"));
}

TEST_F(RoutingNetns, AForeignDefaultRouteInOurPlaceIsAnError) {
  text_of("ip route add blackhole default table 28790 metric 4294967295");
  const auto result = routing_->add(whole_plan().barrier_routes[0]);
  ASSERT_FALSE(result);
  EXPECT_EQ(Code::Exists, result.error().code);
  EXPECT_NE(std::string::npos, result.error().message.find("table 28790"))
      << result.error().message;
  EXPECT_EQ("blackhole default metric 4294967295 \n", text_of("ip route show table 28790"));
}

TEST_F(RoutingNetns, AnOlderRouteOfOursIsReplaced) {
  const Route wanted = whole_plan().barrier_routes[0];
  text_of("ip route add blackhole default table 28790 metric 4294967295 proto 112");
  text_of("ip -6 route add blackhole default table 28790 metric 4294967295 proto 112");
  ASSERT_TRUE(ok(routing_->add(wanted)));
  ASSERT_TRUE(ok(routing_->add(whole_plan().barrier_routes[1])));
  EXPECT_EQ("unreachable default proto 112 metric 4294967295 \n",
            text_of("ip route show table 28790"));
  EXPECT_EQ("unreachable default dev lo proto 112 metric 4294967295 pref medium\n",
            text_of("ip -6 route show table 28790"));
}

TEST_F(RoutingNetns, ForeignDevicesAreNeverRemoved) {
  text_of("ip link add dev tun0 type veth peer name peer0");
  auto result = routing_->remove_tun("tun0");
  ASSERT_FALSE(result);
  EXPECT_EQ(Code::Exists, result.error().code);
  text_of("ip link del dev tun0");
  const UniqueFd foreign = make_tun("tun0");  // a TUN, but of somebody else
  result = routing_->remove_tun("tun0");
  ASSERT_FALSE(result);
  EXPECT_EQ(Code::Exists, result.error().code);
  text_of("ip link show dev tun0");
}

TEST_F(RoutingNetns, ErrorsSayWhatWasTriedAndWhatTheKernelSaid) {
  const auto no_device = routing_->add(whole_plan().device_routes[0]);
  ASSERT_FALSE(no_device);
  EXPECT_EQ(Code::NotFound, no_device.error().code);
  EXPECT_EQ("ip route add default dev tun0 table 28790 metric 100 protocol 112: No such device",
            no_device.error().message);
  tun_ = make_tun("tun0");
  const auto down = routing_->add(whole_plan().device_routes[0]);
  ASSERT_FALSE(down);
  EXPECT_EQ(
      "ip route add default dev tun0 table 28790 metric 100 protocol 112: Network is down "
      "(Device for nexthop is not up)",
      down.error().message);
  LinkSetup unnamed;
  unnamed.name = "a-name-that-is-too-long";
  EXPECT_EQ(Code::InvalidArgument, routing_->set_up(unnamed).error().code);
}

TEST_F(RoutingNetns, Ipv6SwitchedOffIsUnsupportedAndTheRestIsDone) {
  text_of("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
  const RoutingPlan plan = whole_plan();
  tun_ = make_tun("tun0");
  const auto link = routing_->set_up(plan.link);
  ASSERT_FALSE(link);
  EXPECT_EQ(Code::Unsupported, link.error().code) << link.error().message;
  EXPECT_NE(std::string::npos, text_of("ip link show dev tun0").find(",UP"));
  EXPECT_NE(std::string::npos, text_of("ip -o address show dev tun0").find("10.255.255.1/30"));
  EXPECT_TRUE(ok(routing_->add(plan.device_routes[0])));
  const auto route = routing_->add(plan.device_routes[1]);
  ASSERT_FALSE(route);
  EXPECT_EQ(Code::Unsupported, route.error().code) << route.error().message;
  EXPECT_TRUE(ok(routing_->remove(plan.device_routes[1])));
  // Rules and unreachable routes don't need a device: the barrier holds there too.
  for (const auto& rule : plan.rules) EXPECT_TRUE(ok(routing_->add(rule)));
  for (const auto& barrier : plan.barrier_routes) EXPECT_TRUE(ok(routing_->add(barrier)));
}

// Takes CAP_NET_ADMIN out of the effective set or puts it back (capset(2)).
void effective_net_admin(bool on) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  ASSERT_EQ(0, ::syscall(SYS_capget, &header, data));
  const std::uint32_t bit = 1u << CAP_NET_ADMIN;
  data[0].effective = on ? data[0].effective | bit : data[0].effective & ~bit;
  ASSERT_EQ(0, ::syscall(SYS_capset, &header, data));
}

TEST_F(RoutingNetns, TheCapabilityIsNeededAtOpeningAndInTheCall) {
  const PolicyRule rule = whole_plan().rules[0];
  effective_net_admin(false);
  const auto refused = routing_->add(rule);
  ASSERT_FALSE(refused);
  EXPECT_EQ(Code::Permission, refused.error().code);
  EXPECT_EQ(to_command(rule) + ": Operation not permitted (CAP_NET_ADMIN is needed)",
            refused.error().message);
  EXPECT_TRUE(ok(routing_->snapshot())) << "reading is free";
  const auto opened_without = open_routing();
  ASSERT_TRUE(ok(opened_without));
  effective_net_admin(true);
  EXPECT_FALSE((*opened_without)->add(rule));
  EXPECT_TRUE(ok(routing_->add(rule)));
}

// The dry run's text does what the calls do.
TEST_F(RoutingNetns, PastedCommandsGiveTheSameMachine) {
  const RoutingPlan plan = whole_plan();
  for (const std::string& line : to_commands(plan)) text_of(line);
  expect_plan_stands("linkdown");
  EXPECT_EQ(true, *routing_->complete(plan));
  EXPECT_TRUE(ok(routing_->remove_tun("tun0")));
  EXPECT_EQ(2u + 6u, *routing_->remove_all_of_ours());
}

}  // namespace
}  // namespace proxyvpn::netlink
