// What --dry-run prints is pasted into a root shell of a namespace of its own, and must leave what
// `up` would leave.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "app/dry_run.h"
#include "app/plan.h"
#include "app/preflight.h"
#include "testing/addresses.h"
#include "testing/netns.h"

namespace proxyvpn::app {
namespace {

using proxyvpn::testing::ip;

using proxyvpn::testing::run;
using proxyvpn::testing::text_of;
using ::testing::HasSubstr;

Config config_of(bool offload) {
  Config config;
  config.proxy.host = "192.0.2.10";
  config.proxy.port = 3128;
  config.tun_cidr = parse_cidr("10.255.255.1/30").value();
  config.tun_cidr6 = parse_cidr("fd70:7278:7976::1/126").value();
  config.dns = {ip("192.0.2.53"), ip("2001:db8::53")};
  config.exclude = {parse_cidr("198.51.100.0/24").value(), parse_cidr("2001:db8:1::/48").value()};
  config.allow_lan = true;
  config.exempt_users = {65534};
  config.offload = offload;
  return config;
}

class DryRunNetns : public proxyvpn::testing::NetnsTest {
 protected:
  // A root shell that stops at the first command that fails.
  void paste(const std::string& text) {
    std::string path = "/tmp/proxyvpn-dry-run-XXXXXX";
    const int fd = ::mkstemp(path.data());
    ASSERT_GE(fd, 0);
    ::close(fd);
    std::ofstream(path) << text;
    const auto output = run("sh -e " + path);
    ::unlink(path.c_str());
    EXPECT_EQ(0, output.status) << output.text;
  }
};

TEST_F(DryRunNetns, PastedItLeavesWhatUpWouldLeave) {
  text_of("ip link add dev eth0 type veth peer name peer0");
  text_of("ip address add 192.0.2.5/24 dev eth0");
  text_of("ip link set dev eth0 up");
  text_of("ip link add dev docker0 type bridge");
  text_of("ip address add 172.17.0.1/16 dev docker0");
  for (const bool guard : {false, true}) {
    auto config = config_of(!guard);
    config.egress_guard = guard;
    text_of("ip route replace default via 192.0.2.1");
    const auto facts = read_host_facts(config);
    const std::vector<Endpoint> proxies{{ip("192.0.2.10"), 3128}, {ip("2001:db8::10"), 3128}};
    const auto plan = build_plan(config, facts, proxies, guard ? 1 : 2);
    EXPECT_THAT(preflight(config, facts).errors, ::testing::IsEmpty());
    EXPECT_EQ(plan.policy.inside_links, std::vector<std::string>{"docker0"});
    paste(dry_run_text(config, plan, proxies, {}));
    auto routing = netlink::open_routing();
    ASSERT_TRUE(routing);
    const auto complete = (*routing)->complete(plan.routing);
    ASSERT_TRUE(complete) << complete.error().message;
    EXPECT_TRUE(*complete);
    EXPECT_THAT(text_of("nft list ruleset"), HasSubstr("table inet proxyvpn"));
    EXPECT_EQ(guard, text_of("nft list tables").find("netdev proxyvpn") != std::string::npos);
    // The wish for a second run: everything that it would find in its way is named.
    const auto again = preflight(config, read_host_facts(config));
    ASSERT_EQ(again.errors.size(), 1u);
    EXPECT_THAT(again.errors.front(), HasSubstr("'tun0'"));
    text_of("ip link delete dev tun0");
    text_of("nft flush ruleset");
    ASSERT_TRUE((*routing)->remove_all_of_ours());
  }
}

}  // namespace
}  // namespace proxyvpn::app
