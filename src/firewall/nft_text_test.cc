#include "firewall/nft_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "firewall/firewall.h"
#include "firewall/policy_test_values.h"

namespace proxyvpn::firewall {
namespace {

using ::testing::_;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The lines that begin with `start`, without it.
std::vector<std::string> lines(const std::string& text, const std::string& start) {
  std::istringstream stream(text);
  std::vector<std::string> found;
  for (std::string line; std::getline(stream, line);) {
    if (line.rfind(start, 0) == 0) found.push_back(line.substr(start.size()));
  }
  return found;
}
std::vector<std::string> rules(const Policy& policy, const std::string& chain) {
  return lines(to_nft(policy), "add rule inet proxyvpn " + chain + " ");
}
std::vector<std::string> chains(const Policy& policy) {
  return lines(to_nft(policy), "add chain inet proxyvpn ");
}

TEST(NftText, GuaranteeIsPostroutingOnTheRealDevice) {
  EXPECT_THAT(rules(Policy{}, "post"),
              ElementsAre("oifname \"tun0\" meta mark & 0x30000000 == 0x10000000 meta l4proto tcp "
                          "accept",
                          "oifname \"tun0\" ip6 daddr ff02::/16 drop",
                          "oifname \"tun0\" goto discard", "jump allowed", "goto discard"));
  EXPECT_THAT(chains(Policy{}),
              Contains("post { type filter hook postrouting priority 300; policy drop; }"));
}

TEST(NftText, RefusesAtOnceAndCountsByReason) {
  EXPECT_THAT(rules(Policy{}, "out"),
              ElementsAre("meta mark & 0x30000000 == 0x10000000 meta l4proto tcp accept",
                          "jump allowed", "goto refuse"));
  EXPECT_THAT(
      rules(Policy{}, "refuse"),
      ElementsAre(
          "tcp dport 53 counter name \"refused-dns\" reject with tcp reset",
          "udp dport 53 counter name \"refused-dns\" reject with icmpx admin-prohibited",
          "meta l4proto tcp counter name \"refused-tcp\" reject with tcp reset",
          "meta l4proto udp counter name \"refused-udp\" reject with icmpx admin-prohibited",
          "meta l4proto icmp counter name \"refused-icmp\" reject with icmpx admin-prohibited",
          "meta l4proto ipv6-icmp counter name \"refused-icmp\" reject with icmpx admin-prohibited",
          "counter name \"refused-other\" reject with icmpx admin-prohibited"));
}

// Captured packets that found no TUN end here; what comes out of the TUN is never one of them.
TEST(NftText, CapturedPacketsThatComeBackAreReset) {
  Policy policy;
  for (const Mode mode : {Mode::Guarded, Mode::Open}) {
    policy.mode = mode;
    EXPECT_THAT(rules(policy, "in"),
                ElementsAre("iifname \"tun0\" return",
                            "meta mark & 0x30000000 == 0x10000000 meta l4proto tcp counter name "
                            "\"refused-tcp\" reject with tcp reset"));
    EXPECT_THAT(chains(policy),
                Contains("in { type filter hook input priority 0; policy accept; }"));
  }
}

TEST(NftText, BypassTakesMarkAndUserAndEndpoint) {
  Policy policy;
  policy.daemon_uid = 105;
  EXPECT_THAT(rules(policy, "mark_out"),
              Contains("meta mark & 0x30000000 == 0x20000000 meta skuid 105 ip daddr . tcp dport "
                       "@proxy4 ct mark set ct mark & 0xcfffffff | 0x20000000 accept"));
  EXPECT_THAT(rules(policy, "mark_out"),
              Contains("meta mark & 0x30000000 == 0x20000000 meta skuid 105 ip6 daddr . tcp dport "
                       "@proxy6 ct mark set ct mark & 0xcfffffff | 0x20000000 accept"));
}

TEST(NftText, ResolversComeBeforeDirectNetworks) {
  const auto allowed = rules(full_policy(), "allowed");
  const auto at = [&](const std::string& line) {
    const auto found = std::find(allowed.begin(), allowed.end(), line);
    EXPECT_NE(found, allowed.end()) << line;
    return found - allowed.begin();
  };
  EXPECT_LT(at("udp dport 53 ip6 daddr @dns6 accept"), at("udp dport 53 return"));
  EXPECT_LT(at("tcp dport 53 return"), at("ip daddr @direct4 accept"));
  EXPECT_LT(at("udp dport 53 return"), at("ip6 daddr @direct6 accept"));
}

TEST(NftText, OpenMarksAndFiltersNothing) {
  Policy policy = full_policy();
  policy.mode = Mode::Open;
  const std::string text = to_nft(policy);
  EXPECT_THAT(text, Not(HasSubstr("policy drop")));
  EXPECT_THAT(rules(policy, "refuse"), IsEmpty());
  EXPECT_THAT(text, Not(HasSubstr("netdev")));
  EXPECT_THAT(rules(policy, "capture"),
              Contains("ct mark set ct mark & 0xcfffffff | 0x10000000 meta mark set meta mark & "
                       "0xcfffffff | 0x10000000"));
  // The TUN's address stays hidden.
  EXPECT_THAT(rules(policy, "pre"),
              Contains("ip daddr @tun4 counter name \"refused-spoofed-tun\" drop"));
}

TEST(NftText, ShutCapturesNothingAndLetsNothingIntoTheTun) {
  Policy policy = full_policy();
  policy.mode = Mode::Shut;
  EXPECT_THAT(rules(policy, "capture"), IsEmpty());
  EXPECT_THAT(rules(policy, "out"), ElementsAre("jump allowed", "goto refuse"));
  EXPECT_THAT(rules(policy, "forw"), ElementsAre(_, _, "jump allowed", "goto refuse_forward"));
  EXPECT_THAT(to_nft(policy), Not(HasSubstr("meta mark & 0x30000000 == 0x10000000")));
  // Sessions into this machine and the way to the proxy stay.
  EXPECT_THAT(rules(policy, "allowed"),
              Contains("meta l4proto tcp ct mark & 0x30000000 == 0x30000000 accept"));
}

TEST(NftText, UnaskedDatagramsDoNotReachContainers) {
  const auto forward = rules(full_policy(), "forw");
  EXPECT_THAT(forward, Contains("iifname @inside oifname @inside accept"));
  const std::string unasked =
      "oifname @inside meta l4proto != tcp ct state new counter name \"refused-forward\" drop";
  const auto at = std::find(forward.begin(), forward.end(), unasked);
  EXPECT_LT(at, std::find(forward.begin(), forward.end(), "jump allowed"));
}

TEST(NftText, ATunWithoutIpv6LeavesIpv6UnmarkedSoThatItIsRefusedAtOnce) {
  Policy policy = full_policy();
  EXPECT_THAT(rules(policy, "capture"), Not(Contains("ip6 daddr ::/0 return")));
  policy.tun_addresses.resize(1);
  const auto capture = rules(policy, "capture");
  ASSERT_THAT(capture, Contains("ip6 daddr ::/0 return"));
  EXPECT_EQ("ip6 daddr ::/0 return", capture.at(capture.size() - 2));  // the mark is last
  policy.mode = Mode::Open;                                            // nothing would refuse it
  EXPECT_THAT(rules(policy, "capture"), Not(Contains("ip6 daddr ::/0 return")));
}

TEST(NftText, SetsHoldTheirElements) {
  const std::string text = to_nft(full_policy());
  EXPECT_THAT(
      lines(text, "add element inet proxyvpn "),
      ElementsAre("tun4 { 10.255.255.1 }", "proxy4 { 203.0.113.10 . 3128, 203.0.113.11 . 8080 }",
                  "dns4 { 203.0.113.53, 192.168.50.1 }",
                  "direct4 { 10.0.0.0/9, 10.128.0.0/9, 192.168.0.0/16, 198.51.100.7, "
                  "240.0.0.0/4 }",
                  "inside4 { 172.30.0.0/24 }", "keep4 { 192.168.50.2 . 22 . 192.168.50.9 . 50000 }",
                  "tun6 { fd0f:70::1 }", "proxy6 { 2001:db8:113::10 . 3128 }",
                  "dns6 { 2001:db8:113::53 }", "direct6 { fd00::/8, fe80::/10 }",
                  "inside6 { fd30::/64 }", "keep6 { fd00::2 . 22 . fd00::9 . 50000 }",
                  "exempt { 1001, 1000 }", "inside { \"docker0\", \"br-1a2b\" }"));
}

TEST(NftText, AnEmptyPolicyHasSetsWithoutElements) {
  EXPECT_THAT(to_nft(Policy{}), Not(HasSubstr("add element")));
  EXPECT_THAT(to_nft(Policy{}), HasSubstr("add set inet proxyvpn proxy4 { type ipv4_addr . "
                                          "inet_service; }\n"));
}

TEST(NftText, TunAddressIsHiddenFromArpOnlyForItself) {
  EXPECT_THAT(
      lines(to_nft(full_policy()), "add rule arp proxyvpn "),
      ElementsAre("in arp daddr ip 10.255.255.1 drop", "out arp saddr ip 10.255.255.1 drop"));
}

TEST(NftText, GuardHangsOneChainOnEachLink) {
  const std::string text = to_nft(full_policy());
  EXPECT_THAT(
      lines(text, "add chain netdev proxyvpn egress"),
      ElementsAre("0 { type filter hook egress device \"up0\" priority 0; policy drop; }",
                  "1 { type filter hook egress device \"port0\" priority 0; policy drop; }"));
  EXPECT_THAT(lines(text, "add rule netdev proxyvpn egress"),
              ElementsAre("0 goto uplink", "1 goto port"));
  EXPECT_THAT(
      lines(text, "add rule netdev proxyvpn uplink "),
      Contains("meta mark & 0x30000000 == 0x30000000 meta rtclassid != 0xffffffff fib saddr "
               "type local accept"));
  // Only what `post` is about to let out gets the mark.
  EXPECT_THAT(rules(full_policy(), "post"),
              Contains("meta mark set meta mark & 0xcfffffff | 0x30000000"));
}

TEST(NftText, MarksOfOthersAreKept) {
  Policy policy;
  policy.marks = {0x00ff0000, 0x00010000, 0x00020000, 0x00040000};
  EXPECT_THAT(rules(policy, "capture"),
              Contains("ct mark set ct mark & 0xff00ffff | 0x00010000 meta mark set meta mark & "
                       "0xff00ffff | 0x00010000"));
}

TEST(NftText, ReplacesAsTold) {
  const Ruleset ruleset = build_ruleset(Policy{});
  const auto start = [&](Replace how) { return to_nft(ruleset.tables[1], how).substr(0, 120); };
  EXPECT_THAT(
      start(Replace::Whole),
      HasSubstr("add table arp proxyvpn\ndelete table arp proxyvpn\nadd table arp proxyvpn\n"));
  EXPECT_THAT(start(Replace::Present),
              ::testing::StartsWith("delete table arp proxyvpn\nadd table arp proxyvpn\n"));
  EXPECT_THAT(start(Replace::Absent), ::testing::StartsWith("add table arp proxyvpn\nadd chain"));
  EXPECT_THAT(start(Replace::InPlace),
              ::testing::StartsWith("flush table arp proxyvpn\nadd chain"));
  const std::string inet = to_nft(ruleset.tables[0], Replace::InPlace);
  EXPECT_THAT(inet, HasSubstr("flush set inet proxyvpn keep4\n"));
  EXPECT_THAT(inet, Not(HasSubstr("flush set inet proxyvpn seen4\n")));
}

TEST(NftText, OtherNamesOfTableAndTun) {
  Policy policy;
  policy.table = "other";
  policy.tun_name = "pv.7";
  const std::string text = to_nft(policy);
  EXPECT_THAT(text, Not(HasSubstr(" proxyvpn ")));
  EXPECT_THAT(text, HasSubstr("add rule inet other post oifname \"pv.7\" goto discard\n"));
}

}  // namespace
}  // namespace proxyvpn::firewall
