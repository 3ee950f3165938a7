// What a diagnosis reads, against rules that `nft` and iptables made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firewall/inspect.h"
#include "firewall/netns_test_fixture.h"

namespace proxyvpn::firewall {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Inspect : public NetnsTest {
 protected:
  static void load(const std::string& text) {
    FILE* nft = ::popen("nft -f -", "w");
    ASSERT_NE(nullptr, nft);
    EXPECT_EQ(text.size(), std::fwrite(text.data(), 1, text.size(), nft));
    ASSERT_EQ(0, ::pclose(nft)) << text;
  }
  static std::vector<MarkingRule> marking() {
    auto rules = read_marking_rules("proxyvpn");
    EXPECT_TRUE(rules) << (rules ? "" : rules.error().message);
    return rules.value_or(std::vector<MarkingRule>{});
  }
};

TEST_F(Inspect, TheBitsThatRulesWriteAreFollowedThroughRegisters) {
  load(
      "table inet other {\n"
      "  chain out { type route hook output priority mangle;\n"
      "    meta mark set 0x1\n"
      "    meta mark set meta mark and 0xff00ffff or 0x40000\n"
      "    ct mark set meta mark\n"
      "    ct mark set ct mark or 0x10000000\n"
      "    meta mark 0x10000000 counter\n"
      "  }\n"
      "}\n");
  EXPECT_THAT(marking(), ElementsAre(MarkingRule{"inet other out", false, 0xffffffff},
                                     MarkingRule{"inet other out", false, 0x00ff0000},
                                     MarkingRule{"inet other out", true, 0xffffffff},
                                     MarkingRule{"inet other out", true, 0x10000000}));
}

TEST_F(Inspect, IptablesTargetsAreSeenToo) {
  if (run("command -v iptables-nft").status != 0) GTEST_SKIP() << "iptables-nft is missing";
  text_of("iptables-nft -t mangle -A OUTPUT -j MARK --set-xmark 0x2/0xff");
  EXPECT_THAT(marking(), Contains(MarkingRule{"ip mangle OUTPUT", false, 0xff}));
}

TEST_F(Inspect, OurOwnRulesAreNotOthers) {
  EXPECT_THAT(marking(), IsEmpty());
  auto firewall = opened(Backend::Nftables);
  ASSERT_EQ("ok", outcome(firewall->install(Policy{})));
  EXPECT_THAT(marking(), IsEmpty());
  const auto state = read_table_state(Policy{}.table);
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_TRUE(state->present);
  EXPECT_GT(state->rules, 10u);
  EXPECT_GE(state->chains_with_hook, 4u);
  ASSERT_EQ("ok", outcome(firewall->remove()));
  EXPECT_FALSE(read_table_state(Policy{}.table).value().present);
}

// Which one it is depends on the kernel; that nothing stays does not.
TEST_F(Inspect, TryingAnOwnerLeavesNothing) {
  const auto guard = probe_table_guard();
  ASSERT_TRUE(guard) << guard.error().message;
  EXPECT_EQ("", text_of("nft list ruleset"));
}

}  // namespace
}  // namespace proxyvpn::firewall
