// Routing against the real kernel. What stands there is read with iproute2, not with our own eyes.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <fstream>

#include "base/unique_fd.h"
#include "netlink/routing.h"
#include "testing/netns.h"

namespace proxyvpn::netlink {
namespace {

using proxyvpn::testing::NetnsTest;
using proxyvpn::testing::run;
using proxyvpn::testing::text_of;

constexpr Mark kCapture{0x10000000, 0x30000000};
constexpr Mark kBypass{0x20000000, 0x30000000};
constexpr std::uint32_t kLast = 4294967295u;

RoutingPlan whole_plan() {
  RoutingPlan plan;
  plan.link.name = "tun0";
  plan.link.addresses = {*parse_cidr("10.255.255.1/30"), *parse_cidr("fd70:7278:7976::1/126")};
  for (const Family family : {Family::V4, Family::V6}) {
    plan.barrier_routes.push_back({family, RouteType::Unreachable, kDefaultTable, kLast, ""});
    plan.rules.push_back({family, 200, false, kCapture, RuleAction::Lookup, kDefaultTable});
    plan.rules.push_back({family, 201, false, kCapture, RuleAction::Unreachable, 0});
    plan.rules.push_back({family, 32800, true, kBypass, RuleAction::Lookup, kDefaultTable});
    plan.device_routes.push_back({family, RouteType::Unicast, kDefaultTable, 100, "tun0"});
  }
  return plan;
}

// As the tun room does it, in a few lines.
UniqueFd make_tun(const std::string& name) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  EXPECT_TRUE(fd) << std::strerror(errno);
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  EXPECT_EQ(0, ::ioctl(fd.get(), TUNSETIFF, &request)) << std::strerror(errno);
  return fd;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Everything that a set-up could leave behind.
std::string machine() {
  std::string all;
  for (const char* command :
       {"ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all",
        "ip -o link", "ip -o address", "cat /proc/sys/net/ipv4/conf/all/rp_filter",
        "cat /proc/sys/net/ipv4/conf/default/rp_filter", "cat /proc/sys/net/ipv4/ip_forward",
        "cat /proc/sys/net/ipv6/conf/all/forwarding"})
    all += std::string(command) + "\n" + text_of(command);
  return all;
}

template <class T>
::testing::AssertionResult ok(const Result<T>& result) {
  if (result) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << result.error().message;
}

class RoutingNetns : public NetnsTest {
 protected:
  void SetUp() override {
    NetnsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto opened = open_routing();
    ASSERT_TRUE(ok(opened));
    routing_ = std::move(*opened);
  }
  void apply(const RoutingPlan& plan) {
    for (const auto& route : plan.barrier_routes) ASSERT_TRUE(ok(routing_->add(route)));
    for (const auto& rule : plan.rules) ASSERT_TRUE(ok(routing_->add(rule)));
    if (!tun_) tun_ = make_tun(plan.link.name);
    ASSERT_TRUE(ok(routing_->set_up(plan.link)));
    for (const auto& route : plan.device_routes) ASSERT_TRUE(ok(routing_->add(route)));
  }
  // `linkdown` is what `ip` says of a TUN device that no process holds.
  void expect_plan_stands(const std::string& state = "") {
    EXPECT_EQ(
        "0:\tfrom all lookup local\n"
        "200:\tfrom all fwmark 0x10000000/0x30000000 lookup 28790 proto 112\n"
        "201:\tfrom all fwmark 0x10000000/0x30000000 unreachable proto 112\n"
        "32766:\tfrom all lookup main\n"
        "32767:\tfrom all lookup default\n"
        "32800:\tnot from all fwmark 0x20000000/0x30000000 lookup 28790 proto 112\n",
        text_of("ip rule"));
    EXPECT_EQ(
        "0:\tfrom all lookup local\n"
        "200:\tfrom all fwmark 0x10000000/0x30000000 lookup 28790 proto 112\n"
        "201:\tfrom all fwmark 0x10000000/0x30000000 unreachable proto 112\n"
        "32766:\tfrom all lookup main\n"
        "32800:\tnot from all fwmark 0x20000000/0x30000000 lookup 28790 proto 112\n",
        text_of("ip -6 rule"));
    EXPECT_EQ("default dev tun0 proto 112 scope link metric 100 " + state +
                  (state.empty() ? "" : " ") +
                  "\nunreachable default proto 112 metric 4294967295 \n",
              text_of("ip route show table 28790"));
    EXPECT_EQ("default dev tun0 proto 112 metric 100 " + state + (state.empty() ? "" : " ") +
                  "pref medium\n"
                  "unreachable default dev lo proto 112 metric 4294967295 pref medium\n",
              text_of("ip -6 route show table 28790"));
  }

  std::unique_ptr<Routing> routing_;
  UniqueFd tun_;
};

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

TEST_F(RoutingNetns, OneRuleThatStandsThereManyTimesIsRemovedEveryTime) {
  const PolicyRule rule = whole_plan().rules[0];
  const std::string line = to_command(rule);
  const std::string before = machine();
  ASSERT_TRUE(ok(routing_->add(rule)));
  // The kernel refuses an equal rule only with NLM_F_EXCL, which `ip` gives: so by another priority
  // order, through a rule that differs only in `not`.
  text_of("ip rule add pref 200 not fwmark 0x10000000/0x30000000 iif lo lookup 28790 protocol 112");
  ASSERT_TRUE(ok(routing_->remove_all_of_ours()));
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

TEST_F(RoutingNetns, WithoutTheCapabilityTheErrorNamesIt) {
  // A socket keeps the credentials of its opening: those of a process without the capability.
  const auto answer =
      run("setpriv --bounding-set -net_admin --inh-caps -net_admin -- ip rule add "
          "pref 9 lookup 9");
  EXPECT_NE(0, answer.status);  // the way of taking it away works
}

TEST_F(RoutingNetns, SnapshotSeesWhatIpSees) {
  text_of("ip link add dev br0 type bridge");
  text_of("ip link add dev eth0 type veth peer name peer0");
  text_of("ip link set dev peer0 master br0");
  text_of("ip link add dev mac0 link eth0 type macvlan");
  text_of("ip address add 192.0.2.5/24 dev eth0");
  text_of("ip -6 address add 2001:db8::5/64 dev eth0 nodad");
  for (const char* name : {"eth0", "peer0", "br0"})
    text_of(std::string("ip link set up dev ") + name);
  apply(whole_plan());
  auto snapshot = routing_->snapshot();
  ASSERT_TRUE(ok(snapshot));
  EXPECT_FALSE(snapshot->has_default_route_v4);  // ours doesn't count
  EXPECT_FALSE(snapshot->has_default_route_v6);
  EXPECT_TRUE(snapshot->has_ipv6);
  EXPECT_EQ((std::vector<std::uint32_t>{254, 255}), snapshot->tables_in_use);

  text_of("ip route add default via 192.0.2.1");
  text_of("ip -6 route add default via 2001:db8::1");
  text_of("ip route add blackhole 203.0.113.0/24 table 100");
  snapshot = routing_->snapshot();
  ASSERT_TRUE(ok(snapshot));
  EXPECT_TRUE(snapshot->has_default_route_v4);
  EXPECT_TRUE(snapshot->has_default_route_v6);
  EXPECT_EQ((std::vector<std::uint32_t>{100, 254, 255}), snapshot->tables_in_use);

  const auto link = [&](const std::string& name) {
    for (const LinkInfo& one : snapshot->links)
      if (one.name == name) return one;
    ADD_FAILURE() << name << " is missing";
    return LinkInfo{};
  };
  EXPECT_TRUE(link("lo").loopback);
  EXPECT_EQ("", link("lo").kind);
  EXPECT_EQ("bridge", link("br0").kind);
  EXPECT_EQ("veth", link("eth0").kind);
  EXPECT_TRUE(link("eth0").up);
  EXPECT_FALSE(link("eth0").has_lower);
  EXPECT_EQ(0u, link("eth0").master);
  EXPECT_EQ(link("br0").index, link("peer0").master);
  EXPECT_TRUE(link("mac0").has_lower);
  EXPECT_FALSE(link("mac0").up);
  EXPECT_EQ("tun", link("tun0").kind);

  std::vector<std::string> addresses;
  for (const AddressInfo& one : snapshot->addresses)
    if (one.link == link("eth0").index && !one.cidr.address.is_link_local())
      addresses.push_back(to_string(one.cidr));
  EXPECT_EQ((std::vector<std::string>{"192.0.2.5/24", "2001:db8::5/64"}), addresses);
}

// `ip rule` with one space behind the colon.
std::vector<std::string> rules_as_ip_says(const std::string& command) {
  std::vector<std::string> lines;
  std::string text = text_of(command);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    if (const auto tab = line.find('\t'); tab != std::string::npos) line[tab] = ' ';
    while (!line.empty() && line.back() == ' ') line.pop_back();
    lines.push_back(line);
    at = end + 1;
  }
  return lines;
}

TEST_F(RoutingNetns, RulesReadAsIpPrintsThem) {
  apply(whole_plan());
  for (const char* rule :
       {"from 192.0.2.0/24 to 198.51.100.7 lookup 77", "not from 192.0.2.1 lookup main",
        "iif lo lookup 77", "oif nosuch lookup 77", "tos 0x10 lookup 77", "fwmark 0x5 lookup 77",
        "fwmark 0x1/0x3 lookup main suppress_prefixlength 0", "uidrange 1000-2000 lookup 77",
        "ipproto tcp sport 80 dport 1000-2000 lookup 77", "ipproto udp lookup 77", "blackhole",
        "prohibit", "nop", "goto 32766", "lookup default suppress_ifgroup 5",
        "lookup 78 protocol static", "lookup 79 realms 3/4"})
    text_of(std::string("ip rule add ") + rule);
  for (const char* rule : {"from 2001:db8::/32 lookup 77", "to 2001:db8::1 unreachable",
                           "ipproto ipv6-icmp lookup 77", "l3mdev"})
    text_of(std::string("ip -6 rule add ") + rule);
  const auto snapshot = routing_->snapshot();
  ASSERT_TRUE(ok(snapshot));
  EXPECT_EQ(rules_as_ip_says("ip rule"), snapshot->rules);
  EXPECT_EQ(rules_as_ip_says("ip -6 rule"), snapshot->rules_v6);
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
