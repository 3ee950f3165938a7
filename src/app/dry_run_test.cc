#include "app/dry_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "app/plan.h"
#include "testing/addresses.h"

namespace proxyvpn::app {
namespace {

using proxyvpn::testing::ip;
using ::testing::HasSubstr;
using ::testing::Not;

struct Scene {
  Config config;
  HostFacts facts;
  std::vector<Endpoint> proxies{{ip("192.0.2.10"), 3128}};
  MachineSockets sockets;

  Scene() {
    config.proxy = {"proxy.example", 3128, connect::Credentials{"alice", Secret("hunter2")}};
    config.tun_cidr = parse_cidr("10.255.255.1/30").value();
    config.tun_cidr6 = parse_cidr("fd70:7278:7976::1/126").value();
    facts.network.has_ipv6 = true;
    facts.network.ipv6_on_new_links = true;
    facts.resolvers.servers = {ip("192.0.2.53")};
  }
  [[nodiscard]] std::string text() const {
    return dry_run_text(config, build_plan(config, facts, proxies, 2), proxies, sockets);
  }
};

// The position of every one, each behind the one before.
void expect_in_order(const std::string& text, const std::vector<std::string>& parts) {
  std::size_t at = 0;
  for (const auto& part : parts) {
    const auto found = text.find(part, at);
    ASSERT_NE(found, std::string::npos) << "'" << part << "' is missing or too early in\n" << text;
    at = found + part.size();
  }
}

TEST(DryRun, PrintsTheStepsInTheOrderOfTheStart) {
  Scene scene;
  netlink::TcpSocket ssh;
  ssh.local = {ip("192.0.2.5"), 22};
  ssh.remote = {ip("198.51.100.7"), 50000};
  netlink::TcpSocket web;
  web.local = {ip("192.0.2.5"), 41000};
  web.remote = {ip("203.0.113.80"), 443};
  scene.sockets = {{ssh, web}, {ssh}};
  const auto text = scene.text();
  expect_in_order(text,
                  {"# proxyvpn up --dry-run", "nft -f - <<'EOF'\n", "table inet proxyvpn",
                   "192.0.2.5 . 22 . 198.51.100.7 . 50000", "\nEOF\n",
                   "ss -K src 192.0.2.5:41000 dst 203.0.113.80:443",
                   "ip route add local default dev lo table 28791",
                   "ip -6 route add local default dev lo table 28791", "ip rule add pref 200 ",
                   "ip tuntap add dev tun0 mode tun vnet_hdr multi_queue\n", "10.255.255.1/30",
                   "ip link set dev tun0 up", "ip route add default dev tun0 table 28790",
                   "ip -6 route add default dev tun0 table 28790"});
  EXPECT_THAT(text, Not(HasSubstr("ss -K src 192.0.2.5:22")));
}

TEST(DryRun, EveryLineIsACommandOrAComment) {
  Scene scene;
  bool in_rules = false;
  std::istringstream lines(scene.text());
  for (std::string line; std::getline(lines, line);) {
    if (line == "EOF") in_rules = false;
    const bool known = in_rules || line.empty() || line == "EOF" || line.starts_with('#') ||
                       line.starts_with("ip ") || line.starts_with("ss ") ||
                       line.starts_with("sysctl ") || line.starts_with("nft ");
    EXPECT_TRUE(known) << line;
    if (line.starts_with("nft ")) in_rules = true;
  }
  EXPECT_FALSE(in_rules);
}

TEST(DryRun, HoldsNoPassword) {
  const auto text = Scene().text();
  EXPECT_THAT(text, HasSubstr("alice"));
  EXPECT_THAT(text, Not(HasSubstr("hunter2")));
}

TEST(DryRun, AMachineWithoutIpv6GetsNoIpv6Commands) {
  Scene scene;
  scene.facts.network.has_ipv6 = false;
  const auto text = scene.text();
  EXPECT_THAT(text, Not(HasSubstr("ip -6 ")));
  EXPECT_THAT(text, Not(HasSubstr("addrgenmode")));
}

}  // namespace
}  // namespace proxyvpn::app
