#include "firewall/iptables_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firewall/iptables_rule.h"
#include "firewall/match.h"
#include "firewall/policy_test_values.h"

namespace proxyvpn::firewall {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<IptablesTable> tables(const Policy& policy, Family family) {
  const Ruleset ruleset = build_ruleset(policy);
  auto made = to_iptables(ruleset.tables.front(), family);
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().message);
  return made.value_or(std::vector<IptablesTable>(2));
}

std::vector<std::string> chain(const IptablesTable& table, const std::string& name) {
  const std::string start = "-A PROXYVPN_" + name + " ";
  std::vector<std::string> found;
  for (const std::string& rule : table.rules) {
    if (rule.rfind(start, 0) == 0) found.push_back(rule.substr(start.size()));
  }
  return found;
}

TEST(IptablesText, GuaranteeIsInMangleWithTheMarks) {
  const auto made = tables(Policy{}, Family::V4);
  EXPECT_EQ("mangle", made[0].name);
  ASSERT_EQ(3U, made[0].jumps.size());
  EXPECT_EQ("PREROUTING", made[0].jumps[0].from);
  EXPECT_EQ("OUTPUT", made[0].jumps[1].from);
  EXPECT_EQ("POSTROUTING", made[0].jumps[2].from);
  const auto post = chain(made[0], "POST");
  EXPECT_EQ("-o tun0 -m mark --mark 0x10000000/0x30000000 -p tcp -j RETURN", post.front());
  EXPECT_EQ("-j DROP", post.back());
  EXPECT_THAT(post, Contains("-g PROXYVPN_DISCARD"));
}

TEST(IptablesText, RefusesInFilterWithTheRightAnswer) {
  const auto v4 = chain(tables(Policy{}, Family::V4)[1], "REFUSE");
  EXPECT_THAT(v4, ElementsAre("-p tcp --dport 53 -m comment --comment refused-dns -j REJECT "
                              "--reject-with tcp-reset",
                              "-p udp --dport 53 -m comment --comment refused-dns -j REJECT "
                              "--reject-with icmp-admin-prohibited",
                              "-p tcp -m comment --comment refused-tcp -j REJECT --reject-with "
                              "tcp-reset",
                              "-p udp -m comment --comment refused-udp -j REJECT --reject-with "
                              "icmp-admin-prohibited",
                              "-p icmp -m comment --comment refused-icmp -j REJECT --reject-with "
                              "icmp-admin-prohibited",
                              "-m comment --comment refused-other -j REJECT --reject-with "
                              "icmp-admin-prohibited"));
  const auto v6 = chain(tables(Policy{}, Family::V6)[1], "REFUSE");
  EXPECT_THAT(v6, Contains("-p ipv6-icmp -m comment --comment refused-icmp -j REJECT "
                           "--reject-with icmp6-adm-prohibited"));
}

TEST(IptablesText, SetsBecomeRules) {
  const auto made = tables(full_policy(), Family::V4);
  EXPECT_THAT(chain(made[0], "CAPTURE"),
              ElementsAre("-d 10.0.0.0/9 -j RETURN", "-d 10.128.0.0/9 -j RETURN",
                          "-d 192.168.0.0/16 -j RETURN", "-d 198.51.100.7 -j RETURN",
                          "-d 240.0.0.0/4 -j RETURN", "-p tcp --dport 53 -d 203.0.113.53 -j RETURN",
                          "-p tcp --dport 53 -d 192.168.50.1 -j RETURN",
                          "-j CONNMARK --set-xmark 0x10000000/0x30000000",
                          "-j MARK --set-xmark 0x10000000/0x30000000"));
  EXPECT_THAT(chain(made[0], "MARK_OUT"),
              AllOf(Contains("-m mark --mark 0x20000000/0x30000000 -m owner --uid-owner 105 -d "
                             "203.0.113.11 -p tcp --dport 8080 -j CONNMARK --set-xmark "
                             "0x20000000/0x30000000"),
                    Contains("-s 192.168.50.2 -p tcp --sport 22 -d 192.168.50.9 --dport 50000 -j "
                             "CONNMARK --set-xmark 0x30000000/0x30000000")));
}

TEST(IptablesText, FamiliesDoNotMix) {
  for (const IptablesTable& table : tables(full_policy(), Family::V6)) {
    EXPECT_THAT(table.rules, Each(Not(HasSubstr("203.0.113."))));
    EXPECT_THAT(table.rules, Each(Not(HasSubstr("BROADCAST"))));
    EXPECT_THAT(table.rules, Each(Not(HasSubstr("icmp-admin"))));
  }
  for (const IptablesTable& table : tables(full_policy(), Family::V4))
    EXPECT_THAT(table.rules, Each(Not(HasSubstr("icmp6"))));
}

TEST(IptablesText, DnsIsRefusedBeforeDirectNetworks) {
  const auto out = chain(tables(full_policy(), Family::V4)[1], "OUT");
  const auto refused = std::find(out.begin(), out.end(), "-p udp --dport 53 -g PROXYVPN_REFUSE");
  const auto direct = std::find(out.begin(), out.end(), "-d 192.168.0.0/16 -j RETURN");
  ASSERT_NE(refused, out.end());
  ASSERT_NE(direct, out.end());
  EXPECT_LT(refused, direct);
}

TEST(IptablesText, EveryChainThatIsGoneToIsThere) {
  for (const Mode mode : {Mode::Open, Mode::Guarded, Mode::Shut}) {
    Policy policy = full_policy();
    policy.mode = mode;
    for (const IptablesTable& table : tables(policy, Family::V4)) {
      for (const std::string& rule : table.rules) {
        const std::size_t at = rule.find(" -g ");
        if (at != std::string::npos) {
          EXPECT_THAT(table.chains, Contains(rule.substr(at + 4)));
        }
      }
    }
  }
}

// `return` outside of what is written out: the chain was gone to, so it leaves all of ours.
TEST(IptablesText, ATunWithoutIpv6LeavesIpv6Unmarked) {
  Policy policy = full_policy();
  policy.tun_addresses.resize(1);
  EXPECT_THAT(chain(tables(policy, Family::V6)[0], "CAPTURE"), Contains("-d ::/0 -j RETURN"));
  EXPECT_THAT(chain(tables(policy, Family::V4)[0], "CAPTURE"), Not(Contains(HasSubstr("::/0"))));
}

TEST(IptablesText, OpenFiltersOnlyCapturedPacketsThatComeBack) {
  Policy policy = full_policy();
  policy.mode = Mode::Open;
  const auto made = tables(policy, Family::V4);
  EXPECT_THAT(made[1].rules, ElementsAre("-A PROXYVPN_IN -i tun0 -j RETURN",
                                         AllOf(HasSubstr("-m mark --mark 0x10000000/0x30000000"),
                                               HasSubstr("-p tcp"),
                                               HasSubstr("-j REJECT --reject-with tcp-reset"))));
  ASSERT_EQ(made[1].jumps.size(), 1U);
  EXPECT_THAT(made[0].rules, Contains("-A PROXYVPN_CAPTURE -j MARK --set-xmark "
                                      "0x10000000/0x30000000"));
}

TEST(IptablesRule, SaysWhatItHasNoWordsFor) {
  const Table table{TableFamily::Inet, "x", {}, {}, {}};
  const auto made = to_iptables(table, Family::V4, rule(is_routed(), accept()));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(Code::Unsupported, made.error().code);
  EXPECT_FALSE(to_iptables(table, Family::V4, rule(in_set(Field::SocketUid, "none"), accept())));
}

constexpr char kSaved[] =
    "# Generated by iptables-save\n*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [1:2]\n"
    ":PROXYVPN_OUT - [0:0]\n:PROXYVPN_OLD - [0:0]\n:OTHERS - [0:0]\n"
    "-A OUTPUT -p tcp -j OTHERS\n-A OUTPUT -j PROXYVPN_OUT\n-A OUTPUT -j PROXYVPN_OLD\n"
    "-A PROXYVPN_OUT -o lo -j RETURN\n-A OTHERS -j ACCEPT\nCOMMIT\n";

TEST(IptablesText, ReadsWhatIsThere) {
  const SavedTable saved = parse_saved(kSaved);
  EXPECT_THAT(saved.chains, ElementsAre("PROXYVPN_OUT", "PROXYVPN_OLD"));
  EXPECT_THAT(saved.jumps, ElementsAre("-A OUTPUT -j PROXYVPN_OUT", "-A OUTPUT -j PROXYVPN_OLD"));
  EXPECT_THAT(saved.rules, ElementsAre("-A PROXYVPN_OUT -o lo -j RETURN"));
  EXPECT_THAT(saved.first, ElementsAre("-A OUTPUT -p tcp -j OTHERS", "-A OTHERS -j ACCEPT"));
}

TEST(IptablesText, PutsItselfFirstAgainAndRemovesTheOld) {
  const IptablesTable want{
      "filter", {{"OUTPUT", "PROXYVPN_OUT"}}, {"PROXYVPN_OUT"}, {"-A PROXYVPN_OUT -j DROP"}};
  EXPECT_FALSE(jumps_in_place(want, parse_saved(kSaved)));
  EXPECT_EQ(
      "*filter\n:PROXYVPN_OUT - [0:0]\n:PROXYVPN_OLD - [0:0]\n-A PROXYVPN_OUT -j DROP\n"
      "-D OUTPUT -j PROXYVPN_OUT\n-D OUTPUT -j PROXYVPN_OLD\n-I OUTPUT 1 -j PROXYVPN_OUT\n"
      "-X PROXYVPN_OLD\nCOMMIT\n",
      to_restore(want, parse_saved(kSaved)));
}

TEST(IptablesText, LeavesAJumpInItsPlaceAlone) {
  const IptablesTable want{
      "filter", {{"OUTPUT", "PROXYVPN_OUT"}}, {"PROXYVPN_OUT"}, {"-A PROXYVPN_OUT -j DROP"}};
  const SavedTable have = parse_saved(
      "*filter\n:OUTPUT ACCEPT [0:0]\n:PROXYVPN_OUT - [0:0]\n-A OUTPUT -j PROXYVPN_OUT\n"
      "-A OUTPUT -j ACCEPT\nCOMMIT\n");
  EXPECT_TRUE(jumps_in_place(want, have));
  EXPECT_EQ("*filter\n:PROXYVPN_OUT - [0:0]\n-A PROXYVPN_OUT -j DROP\nCOMMIT\n",
            to_restore(want, have));
}

TEST(IptablesText, RemovesEverything) {
  EXPECT_EQ(
      "*filter\n:PROXYVPN_OUT - [0:0]\n:PROXYVPN_OLD - [0:0]\n-D OUTPUT -j PROXYVPN_OUT\n"
      "-D OUTPUT -j PROXYVPN_OLD\n-X PROXYVPN_OUT\n-X PROXYVPN_OLD\nCOMMIT\n",
      to_restore({"filter", {}, {}, {}}, parse_saved(kSaved)));
}

}  // namespace
}  // namespace proxyvpn::firewall
