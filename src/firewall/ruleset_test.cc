#include "firewall/ruleset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "firewall/firewall.h"
#include "firewall/policy_test_values.h"
#include "firewall/set_elements.h"

namespace proxyvpn::firewall {
namespace {

using ::testing::HasSubstr;

std::vector<Policy> policies() {
  std::vector<Policy> all;
  for (const Mode mode : {Mode::Open, Mode::Guarded, Mode::Shut}) {
    for (Policy policy : {Policy{}, full_policy()}) {
      policy.mode = mode;
      all.push_back(policy);
    }
  }
  return all;
}

// What a rule names, in the order of the chain's rules.
template <class T>
std::vector<T> statements(const Chain& chain) {
  std::vector<T> found;
  for (const Rule& rule : chain.rules) {
    for (const Statement& statement : rule.statements) {
      if (const auto* one = std::get_if<T>(&statement)) found.push_back(*one);
    }
  }
  return found;
}

unsigned length_of(KeyPart part) {
  switch (part) {
    case KeyPart::Ipv4:
    case KeyPart::Uid:
      return 4;
    case KeyPart::Ipv6:
    case KeyPart::LinkName:
      return 16;
    case KeyPart::Port:
      return 2;
  }
  return 0;
}

TEST(Ruleset, NamesOnlyWhatIsThere) {
  for (const Policy& policy : policies()) {
    for (const Table& table : build_ruleset(policy).tables) {
      std::set<std::string> before;
      for (const Chain& chain : table.chains) {
        for (const Verdict& verdict : statements<Verdict>(chain)) {
          const bool to_chain = verdict.action == Action::Jump || verdict.action == Action::Goto;
          EXPECT_EQ(to_chain, !verdict.chain.empty());
          EXPECT_TRUE(!to_chain || before.count(verdict.chain) == 1) << verdict.chain;
        }
        for (const Count& count : statements<Count>(chain))
          EXPECT_THAT(table.counters, ::testing::Contains(count.counter));
        before.insert(chain.name);
      }
    }
  }
}

TEST(Ruleset, KeysFitTheirSets) {
  for (const Policy& policy : policies()) {
    for (const Table& table : build_ruleset(policy).tables) {
      for (const Chain& chain : table.chains) {
        for (const Lookup& lookup : statements<Lookup>(chain)) {
          const auto set = std::find_if(table.sets.begin(), table.sets.end(),
                                        [&](const Set& each) { return each.name == lookup.set; });
          ASSERT_NE(set, table.sets.end()) << lookup.set;
          ASSERT_EQ(set->key.size(), lookup.key.size()) << lookup.set;
          for (std::size_t i = 0; i < lookup.key.size(); ++i)
            EXPECT_EQ(length_of(set->key[i]), info(lookup.key[i]).length) << lookup.set;
        }
      }
    }
  }
}

TEST(Ruleset, ComparesAsManyBytesAsTheFieldHas) {
  for (const Policy& policy : policies()) {
    for (const Table& table : build_ruleset(policy).tables) {
      for (const Chain& chain : table.chains) {
        for (const Compare& compare : statements<Compare>(chain)) {
          EXPECT_EQ(info(compare.field).length, compare.bytes.size()) << compare.text;
          EXPECT_TRUE(compare.mask.empty() || compare.mask.size() == compare.bytes.size());
        }
      }
    }
  }
}

TEST(Ruleset, NeverTouchesMarksOfOthers) {
  for (const Policy& policy : policies()) {
    for (const Table& table : build_ruleset(policy).tables) {
      for (const Chain& chain : table.chains) {
        for (const SetMark& mark : statements<SetMark>(chain)) {
          EXPECT_EQ(policy.marks.mask, mark.mask);
          EXPECT_EQ(0U, mark.value & ~mark.mask);
        }
        for (const Compare& compare : statements<Compare>(chain)) {
          const bool mark =
              compare.field == Field::PacketMark || compare.field == Field::ConnectionMark;
          EXPECT_TRUE(!mark || compare.mask.size() == 4) << compare.text;
        }
      }
    }
  }
}

TEST(Ruleset, RefusingChainsLetNothingThrough) {
  const Ruleset ruleset = build_ruleset(full_policy());
  for (const Chain& chain : ruleset.tables.front().chains) {
    if (chain.name != "refuse" && chain.name != "refuse_forward" && chain.name != "discard")
      continue;
    for (const Rule& rule : chain.rules) {
      const auto* verdict = std::get_if<Verdict>(&rule.statements.back());
      EXPECT_TRUE(std::holds_alternative<Reject>(rule.statements.back()) ||
                  (verdict != nullptr && verdict->action == Action::Drop))
          << chain.name;
    }
    // The last rule takes whatever is left.
    EXPECT_EQ(2U, chain.rules.back().statements.size()) << chain.name;
    EXPECT_TRUE(std::holds_alternative<Count>(chain.rules.back().statements.front()));
  }
}

TEST(Ruleset, AGroupGoesDirectByItsConnectionsMarkUnlessShut) {
  const auto mentions = [](const Policy& policy, const char* chain_name) {
    const Ruleset ruleset = build_ruleset(policy);
    for (const Chain& chain : ruleset.tables.front().chains) {
      if (chain.name != chain_name) continue;
      for (const Compare& compare : statements<Compare>(chain)) {
        if (compare.field == Field::SocketCgroup) return true;
      }
    }
    return false;
  };
  Policy policy = full_policy();
  EXPECT_FALSE(mentions(policy, "mark_out"));
  policy.direct_cgroup = DirectCgroup{"proxyvpn-direct", 4711};
  EXPECT_TRUE(mentions(policy, "mark_out"));
  // The kernel knows a socket's group in output only.
  for (const char* chain : {"pre", "allowed", "out", "forw", "post"}) {
    EXPECT_FALSE(mentions(policy, chain)) << chain;
  }
  EXPECT_NE(to_nft(policy).find("socket cgroupv2 level 1 \"proxyvpn-direct\""), std::string::npos);
  policy.mode = Mode::Shut;
  EXPECT_FALSE(mentions(policy, "mark_out"));
}

TEST(Ruleset, OpenVanishesAndHasNoGuard) {
  Policy policy = full_policy();
  policy.mode = Mode::Open;
  const Ruleset open = build_ruleset(policy);
  EXPECT_TRUE(open.vanishes);
  EXPECT_EQ(nullptr, find_table(open, TableFamily::Netdev));
  const Ruleset guarded = build_ruleset(full_policy());
  EXPECT_FALSE(guarded.vanishes);
  EXPECT_NE(nullptr, find_table(guarded, TableFamily::Netdev));
  EXPECT_EQ(nullptr, find_table(build_ruleset(Policy{}), TableFamily::Netdev));
}

std::vector<std::string> texts(const Set& set) {
  std::vector<std::string> found;
  for (const Element& element : set.elements) found.push_back(element.parts.front().text);
  return found;
}

TEST(NetworkSet, LeavesOutWhatIsInsideAndTwice) {
  const std::vector<Cidr> networks{network("10.1.2.0/24"),   network("10.0.0.0/8"),
                                   network("10.0.0.0/8"),    network("10.255.255.255"),
                                   network("11.0.0.0/8"),    network("192.0.2.1"),
                                   network("2001:db8::/32"), network("10.9.9.9/8")};
  EXPECT_EQ((std::vector<std::string>{"10.0.0.0/8", "11.0.0.0/8", "192.0.2.1"}),
            texts(network_set("x", Family::V4, networks)));
  EXPECT_EQ((std::vector<std::string>{"2001:db8::/32"}),
            texts(network_set("x", Family::V6, networks)));
}

TEST(NetworkSet, TheWholeInternetTakesInEverything) {
  const std::vector<Cidr> networks{network("10.0.0.0/8"), network("0.0.0.0/0"),
                                   network("255.255.255.255")};
  EXPECT_EQ((std::vector<std::string>{"0.0.0.0/0"}), texts(network_set("x", Family::V4, networks)));
}

TEST(InetSets, TakesNothingTwice) {
  Policy policy;
  policy.proxies = {endpoint("192.0.2.1:80"), endpoint("192.0.2.1:80"), endpoint("192.0.2.1:81")};
  policy.resolvers = {address("192.0.2.53"), address("192.0.2.53")};
  policy.exempt_uids = {7, 7};
  policy.keep = {{endpoint("192.0.2.2:22"), endpoint("192.0.2.3:5")},
                 {endpoint("192.0.2.2:22"), endpoint("192.0.2.3:5")}};
  for (const Set& set : inet_sets(policy, 1, 1)) {
    if (set.name == "proxy4") {
      EXPECT_EQ(2U, set.elements.size());
    } else if (set.name == "dns4" || set.name == "exempt" || set.name == "keep4") {
      EXPECT_EQ(1U, set.elements.size()) << set.name;
    } else {
      EXPECT_TRUE(set.elements.empty()) << set.name;
    }
  }
}

struct Bad {
  const char* says;
  void (*spoil)(Policy&);
};

class BadPolicy : public ::testing::TestWithParam<Bad> {};

TEST_P(BadPolicy, IsRefusedWithItsValue) {
  Policy policy = full_policy();
  ASSERT_TRUE(check(policy).has_value());
  GetParam().spoil(policy);
  const auto checked = check(policy);
  ASSERT_FALSE(checked.has_value());
  EXPECT_EQ(Code::InvalidArgument, checked.error().code);
  EXPECT_THAT(checked.error().message, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Check, BadPolicy,
    ::testing::Values(
        Bad{"\"a b\"", [](Policy& p) { p.tun_name = "a b"; }},
        Bad{"\"\"", [](Policy& p) { p.tun_name = ""; }},
        Bad{"\"sixteen-letters-\"",
            [](Policy& p) { p.inside_links.push_back("sixteen-letters-"); }},
        Bad{"\"x\" accept\"", [](Policy& p) { p.inside_links.push_back("x\" accept"); }},
        Bad{"\"eth*\"", [](Policy& p) { p.guarded_uplinks.push_back("eth*"); }},
        Bad{"\"eth+\"", [](Policy& p) { p.guarded_ports.push_back("eth+"); }},
        Bad{"\"..\"", [](Policy& p) { p.tun_name = ".."; }},
        Bad{"twice", [](Policy& p) { p.guarded_ports.push_back("up0"); }},
        Bad{"\"7x\"", [](Policy& p) { p.table = "7x"; }},
        Bad{"\"a;b\"", [](Policy& p) { p.table = "a;b"; }},
        Bad{"0x1 must be", [](Policy& p) { p.marks.bypass = 1; }},
        Bad{"0x0 must be", [](Policy& p) { p.marks.capture = 0; }},
        Bad{"must differ", [](Policy& p) { p.marks.inbound = p.marks.bypass; }},
        Bad{"192.0.2.1:0",
            [](Policy& p) {
              p.proxies.push_back({address("192.0.2.1"), 0});
            }},
        Bad{"192.0.2.0/33",
            [](Policy& p) {
              p.direct.push_back({address("192.0.2.0"), 33});
            }},
        Bad{"mixes", [](Policy& p) {
              p.keep.push_back({endpoint("192.0.2.1:22"), endpoint("[2001:db8::1]:9")});
            }}));

}  // namespace
}  // namespace proxyvpn::firewall
