#pragma once
// What the namespace tests of this room share: a plan, a TUN device, and a machine of their own.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <fstream>
#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "netlink/routing.h"
#include "testing/netns.h"

namespace proxyvpn::netlink {

using proxyvpn::testing::NetnsTest;
using proxyvpn::testing::text_of;

inline constexpr Mark kCapture{0x10000000, 0x30000000};
inline constexpr Mark kBypass{0x20000000, 0x30000000};
inline constexpr std::uint32_t kLast = 4294967295u;

inline RoutingPlan whole_plan() {
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
inline UniqueFd make_tun(const std::string& name) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  EXPECT_TRUE(fd) << std::strerror(errno);
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  EXPECT_EQ(0, ::ioctl(fd.get(), TUNSETIFF, &request)) << std::strerror(errno);
  return fd;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Everything that a set-up could leave behind.
inline std::string machine() {
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

}  // namespace proxyvpn::netlink
