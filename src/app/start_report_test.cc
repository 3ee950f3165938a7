#include "app/start_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/control_server.h"
#include "app/status_text.h"

namespace proxyvpn::app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Status started_status() {
  Status facts;
  facts.state = RunState::Up;
  facts.proxy_url = "http://alice@proxy.started_status:8080";
  facts.proxies = {parse_endpoint("192.0.2.10:8080").value()};
  facts.tun_name = "tun0";
  facts.tun_addresses = {parse_cidr("10.255.255.1/30").value()};
  facts.backend = "nftables";
  facts.resolvers = {IpAddress::parse("192.0.2.53").value(), IpAddress::parse("::1").value()};
  facts.workers = facts.workers_wanted = 2;
  return facts;
}

TEST(StartReport, SaysWhatIsInForceAndHowToStopIt) {
  EXPECT_THAT(
      start_lines(started_status(), false),
      ElementsAre(
          "proxyvpn is up: TCP goes through the proxy",
          "  proxy       http://alice@proxy.started_status:8080 (192.0.2.10:8080)",
          "  tun         tun0 10.255.255.1/30",
          "  killswitch  on (nftables): what does not go through the proxy is refused at once",
          "  resolvers   192.0.2.53, ::1",
          "  stop with   Ctrl-C, or `proxyvpn down` in another terminal"));
  EXPECT_EQ("DNS bypass IPs: [192.0.2.53, ::1]", dns_line(started_status().resolvers));
  EXPECT_EQ("DNS bypass IPs: []", dns_line({}));
}

TEST(StartReport, SaysWhenNamesCannotWork) {
  auto facts = started_status();
  facts.resolvers.clear();
  EXPECT_THAT(start_lines(facts, true)[4], HasSubstr("--allow-dns"));
}

TEST(StatusReport, CountersArePerReason) {
  EXPECT_EQ("refused-udp  1 packet, 40 bytes\nrefused-tcp  2 packets, 80 bytes\n",
            aligned(counter_fields({{"udp", 1, 40}, {"tcp", 2, 80}})));
}

TEST(ControlAccess, OwnerRootAndGroupMayOthersMayNot) {
  const Access access{1000, gid_t{300}};
  EXPECT_TRUE(may_command({1, 0, {}}, access));
  EXPECT_TRUE(may_command({1, 1000, {}}, access));
  EXPECT_TRUE(may_command({1, 1001, {100, 300}}, access));
  EXPECT_FALSE(may_command({1, 1001, {100}}, access));
  EXPECT_FALSE(may_command({1, 1001, {300}}, {1000, std::nullopt}));
  EXPECT_FALSE(may_command(Peer{}, access));
}

}  // namespace
}  // namespace proxyvpn::app
