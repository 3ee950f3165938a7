// The netlink back end against a real kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firewall/netns_test_fixture.h"
#include "firewall/nft_text.h"
#include "firewall/nftnl_firewall.h"

namespace proxyvpn::firewall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class NftnlNetns : public NetnsTest {
 protected:
  void SetUp() override {
    NetnsTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) add_links();
  }
  static std::unique_ptr<Firewall> open(Ownership ownership = Ownership::Auto) {
    auto firewall = open_nftnl_firewall(ownership);
    EXPECT_TRUE(firewall.has_value()) << (firewall ? "" : firewall.error().message);
    return firewall ? std::move(*firewall) : nullptr;
  }
  static Presence presence_of(Firewall& firewall) {
    auto presence = firewall.presence();
    EXPECT_TRUE(presence.has_value());
    return presence.value_or(Presence::Absent);
  }
};

struct Case {
  const char* name;
  Mode mode;
  bool full;
};
class NftnlAgrees : public NftnlNetns, public ::testing::WithParamInterface<Case> {};

// What netlink made lists as what `nft` makes of the text.
TEST_P(NftnlAgrees, WithTheText) {
  Policy policy = GetParam().full ? full_policy() : Policy{};
  policy.mode = GetParam().mode;
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  const std::string by_netlink = listing();
  ASSERT_EQ("ok", outcome(firewall->remove()));
  EXPECT_EQ("", listing());
  FILE* nft = ::popen("nft -f -", "w");
  ASSERT_NE(nullptr, nft);
  const std::string text = to_nft(policy);
  EXPECT_EQ(text.size(), std::fwrite(text.data(), 1, text.size(), nft));
  ASSERT_EQ(0, ::pclose(nft)) << text;
  EXPECT_EQ(listing(), by_netlink);
  EXPECT_THAT(by_netlink, HasSubstr("chain mark_out"));
}

// In place of another policy, too.
TEST_P(NftnlAgrees, AfterAReplacement) {
  Policy policy = GetParam().full ? full_policy() : Policy{};
  policy.mode = GetParam().mode;
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  const std::string fresh = listing();
  for (const Mode mode : {Mode::Guarded, Mode::Shut, Mode::Open}) {
    Policy other = GetParam().full ? Policy{} : full_policy();
    other.mode = mode;
    ASSERT_EQ("ok", outcome(firewall->install(other)));
    ASSERT_EQ("ok", outcome(firewall->install(policy)));
    EXPECT_EQ(fresh, listing());
    EXPECT_TRUE(firewall->intact().value_or(false));
  }
  ASSERT_EQ("ok", outcome(firewall->remove()));
}

INSTANTIATE_TEST_SUITE_P(Policies, NftnlAgrees,
                         ::testing::Values(Case{"GuardedFull", Mode::Guarded, true},
                                           Case{"GuardedEmpty", Mode::Guarded, false},
                                           Case{"ShutFull", Mode::Shut, true},
                                           Case{"ShutEmpty", Mode::Shut, false},
                                           Case{"OpenFull", Mode::Open, true},
                                           Case{"OpenEmpty", Mode::Open, false}),
                         [](const auto& each) { return each.param.name; });

TEST_F(NftnlNetns, AgreesWithTheTextForATunWithoutIpv6) {
  Policy policy = full_policy();
  policy.tun_addresses.resize(1);
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  const std::string by_netlink = listing();
  ASSERT_EQ("ok", outcome(firewall->remove()));
  auto by_text = opened(Backend::NftCommand);
  ASSERT_EQ("ok", outcome(by_text->install(policy)));
  EXPECT_EQ(listing(), by_netlink);
}

TEST_F(NftnlNetns, NobodyElseCanTouchItWhileItsOwnerLives) {
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(full_policy())));
  const std::string before = listing();
  EXPECT_EQ(0, run("nft flush ruleset").status);
  EXPECT_EQ(before, listing());
  for (const char* attack :
       {"nft delete table inet proxyvpn", "nft flush table inet proxyvpn",
        "nft flush chain inet proxyvpn post", "nft insert rule inet proxyvpn post accept",
        "nft add element inet proxyvpn direct4 { 1.2.3.4 }", "nft delete table netdev proxyvpn",
        "nft delete table arp proxyvpn"}) {
    const auto answer = run(attack);
    EXPECT_NE(0, answer.status) << attack;
    EXPECT_THAT(answer.text, HasSubstr("Operation not permitted")) << attack;
  }
  EXPECT_EQ(before, listing());
  auto other = open();
  EXPECT_EQ(Presence::Owned, presence_of(*other));
  for (const auto& refused : {other->install(Policy{}), other->remove()}) {
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(Code::Busy, refused.error().code) << refused.error().message;
  }
  EXPECT_EQ(before, listing());
  EXPECT_EQ(Presence::Ours, presence_of(*firewall));
  EXPECT_EQ("ok", outcome(firewall->remove()));
  EXPECT_EQ("", everything());
}

TEST_F(NftnlNetns, StaysAfterACrashAndIsAdopted) {
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(full_policy())));
  const std::string before = listing();
  firewall.reset();  // closes the socket, as the kernel does for a killed process
  EXPECT_EQ(before, listing());
  auto next = open();
  EXPECT_EQ(Presence::Orphan, presence_of(*next));
  EXPECT_FALSE(next->intact().value_or(true));
  Policy policy = full_policy();
  policy.proxies = {endpoint("192.0.2.7:3128")};
  ASSERT_EQ("ok", outcome(next->install(policy)));
  EXPECT_EQ(Presence::Ours, presence_of(*next));
  EXPECT_NE(0, run("nft delete table inet proxyvpn").status);
  EXPECT_THAT(listing(), HasSubstr("192.0.2.7 . 3128"));
  EXPECT_THAT(listing(), Not(HasSubstr("203.0.113.10 . 3128")));
  next.reset();
  EXPECT_EQ("ok", outcome(open()->remove()));
  EXPECT_EQ("", everything());
}

TEST_F(NftnlNetns, StaysWhenTheProcessIsKilled) {
  int ready[2];
  ASSERT_EQ(0, ::pipe(ready));
  const pid_t child = ::fork();
  if (child == 0) {
    auto firewall = open_nftnl_firewall();
    const bool done = firewall && (*firewall)->install(full_policy());
    (void)!::write(ready[1], done ? "y" : "n", 1);
    ::pause();
    ::_exit(0);
  }
  char done = 'n';
  ASSERT_EQ(1, ::read(ready[0], &done, 1));
  EXPECT_EQ('y', done);
  EXPECT_EQ(Presence::Owned, presence_of(*open()));
  ASSERT_EQ(0, ::kill(child, SIGKILL));
  ASSERT_EQ(child, ::waitpid(child, nullptr, 0));
  auto next = open();
  EXPECT_EQ(Presence::Orphan, presence_of(*next));
  EXPECT_THAT(listing(), HasSubstr("policy drop"));
  EXPECT_EQ("ok", outcome(next->remove()));
  EXPECT_EQ("ok", outcome(next->remove()));  // nothing there is success
  EXPECT_EQ(Presence::Absent, presence_of(*next));
  EXPECT_EQ("", everything());
}

TEST_F(NftnlNetns, OpenVanishesWithItsOwner) {
  Policy policy = full_policy();
  policy.mode = Mode::Open;
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  EXPECT_EQ(Presence::Ours, presence_of(*firewall));
  EXPECT_NE(0, run("nft delete table inet proxyvpn").status);
  firewall.reset();
  EXPECT_EQ("", everything());
}

TEST_F(NftnlNetns, OpenAndGuardedReplaceEachOther) {
  auto firewall = open();
  for (const Mode mode : {Mode::Open, Mode::Guarded, Mode::Open, Mode::Shut, Mode::Guarded}) {
    Policy policy = full_policy();
    policy.mode = mode;
    ASSERT_EQ("ok", outcome(firewall->install(policy)));
    EXPECT_EQ(mode != Mode::Open, listing().find("policy drop") != std::string::npos);
    EXPECT_EQ(Presence::Ours, presence_of(*firewall));
    EXPECT_TRUE(firewall->intact().value_or(false));
  }
  firewall.reset();
  // The last was Guarded: what was made as Open must not have stayed Open's kind of table.
  auto next = open();
  EXPECT_EQ(Presence::Orphan, presence_of(*next));
  // `up --no-killswitch` over a crashed killswitch.
  Policy policy;
  policy.mode = Mode::Open;
  ASSERT_EQ("ok", outcome(next->install(policy)));
  EXPECT_THAT(listing(), Not(HasSubstr("policy drop")));
  EXPECT_THAT(listing(), Not(HasSubstr("netdev")));
  next.reset();
  EXPECT_EQ("", everything());
}

TEST_F(NftnlNetns, ReplacesAHundredTimesAndKeepsCounters) {
  text_of("ip addr add 192.0.2.1/24 dev up0 && ip link set up0 up && ip link set port0 up");
  auto firewall = open();
  Policy policy = full_policy();
  policy.guarded_uplinks.clear();
  policy.guarded_ports.clear();
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  EXPECT_NE(0, run("ping -c1 -W1 192.0.2.9").status);
  for (unsigned i = 0; i < 100; ++i) {
    policy.proxies = {{address("192.0.2.7"), static_cast<std::uint16_t>(1000 + i)}};
    policy.direct.push_back({IpAddress::v4((203U << 24) + (i << 8)), 24});
    policy.mode = i % 2 == 0 ? Mode::Shut : Mode::Guarded;
    ASSERT_EQ("ok", outcome(firewall->install(policy))) << i;
  }
  EXPECT_TRUE(firewall->intact().value_or(false));
  EXPECT_THAT(listing(), HasSubstr("192.0.2.7 . 1099 }"));
  auto counters = firewall->counters();
  ASSERT_TRUE(counters.has_value());
  const auto icmp = std::find_if(counters->begin(), counters->end(),
                                 [](const Counter& counter) { return counter.reason == "icmp"; });
  ASSERT_NE(icmp, counters->end());
  EXPECT_EQ(1U, icmp->packets);
  EXPECT_GT(icmp->bytes, 20U);
  EXPECT_EQ("ok", outcome(firewall->remove()));
  EXPECT_EQ("", everything());
}

// The memory of inbound sessions is filled by packets and outlives a replacement.
TEST_F(NftnlNetns, KeepsSeenFlowsAcrossReplacements) {
  auto firewall = open(Ownership::Plain);
  ASSERT_EQ("ok", outcome(firewall->install(full_policy())));
  text_of("nft add element inet proxyvpn seen4 { 192.0.2.1 . 22 . 192.0.2.9 . 4000 }");
  Policy policy = full_policy();
  policy.mode = Mode::Shut;
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  EXPECT_THAT(listing(), HasSubstr("192.0.2.1 . 22 . 192.0.2.9 . 4000"));
}

TEST_F(NftnlNetns, TakesThousandsOfNetworksAndFlows) {
  Policy policy = full_policy();
  for (unsigned i = 0; i < 5000; ++i) {
    policy.direct.push_back({IpAddress::v4((100U << 24) + (i << 9)), 24});
    policy.keep.push_back({endpoint("[2001:db8::1]:22"),
                           {address("2001:db8::2"), static_cast<std::uint16_t>(i + 1)}});
  }
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  ASSERT_EQ("ok", outcome(firewall->install(policy)));  // and in place
  EXPECT_THAT(text_of("nft list set inet proxyvpn keep6"), HasSubstr("2001:db8::2 . 5000"));
  EXPECT_THAT(text_of("nft list set inet proxyvpn direct4"), HasSubstr("100.39.14.0/24"));
}

TEST_F(NftnlNetns, TakesTheWholeInternetAsDirect) {
  Policy policy;
  policy.direct = {network("0.0.0.0/0"), network("::/0")};
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  EXPECT_THAT(text_of("nft list set inet proxyvpn direct4"), HasSubstr("0.0.0.0/0"));
  EXPECT_THAT(text_of("nft list set inet proxyvpn direct6"), HasSubstr("::/0"));
}

// A link takes 1024 chains at most (MAX_HOOK_COUNT of the kernel's netfilter core): a refusal in
// the middle of a batch.
void fill_hooks(const std::string& link) {
  std::string text = "add table netdev full\n";
  for (int i = 0; i < 1024; ++i) {
    text += "add chain netdev full c" + std::to_string(i) + " { type filter hook egress device \"" +
            link + "\" priority 0; }\n";
  }
  FILE* nft = ::popen("nft -f -", "w");
  ASSERT_NE(nullptr, nft);
  EXPECT_EQ(text.size(), std::fwrite(text.data(), 1, text.size(), nft));
  ASSERT_EQ(0, ::pclose(nft));
}

TEST_F(NftnlNetns, PutsInForceAllOrNothing) {
  fill_hooks("port0");
  auto firewall = open();
  const auto refused = firewall->install(full_policy());
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, HasSubstr("add chain netdev proxyvpn egress1"));
  EXPECT_THAT(refused.error().message, HasSubstr("device \"port0\""));
  EXPECT_EQ(Presence::Absent, presence_of(*firewall));
  EXPECT_THAT(listing(), Not(HasSubstr("proxyvpn")));
}

TEST_F(NftnlNetns, AFailedReplacementLeavesTheOldRules) {
  auto firewall = open();
  Policy policy = full_policy();
  policy.guarded_ports.clear();
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  const std::string before =
      text_of("nft list table inet proxyvpn; nft list table netdev proxyvpn");
  fill_hooks("port0");
  EXPECT_FALSE(firewall->install(full_policy()).has_value());
  EXPECT_EQ(before, text_of("nft list table inet proxyvpn; nft list table netdev proxyvpn"));
  EXPECT_TRUE(firewall->intact().value_or(false));
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
}

// Kernels before 6.16 refuse a device that is not there; later ones wait for it.
TEST_F(NftnlNetns, NamesTheLinkThatIsMissingOrWaitsForIt) {
  Policy policy;
  policy.guarded_uplinks = {"gone7"};
  auto firewall = open();
  const auto result = firewall->install(policy);
  if (result) {
    EXPECT_THAT(listing(), HasSubstr("device \"gone7\""));
    EXPECT_TRUE(firewall->intact().value_or(false));
    return;
  }
  EXPECT_THAT(result.error().message, HasSubstr("device \"gone7\""));
  EXPECT_EQ("", everything());
}

TEST_F(NftnlNetns, PlainTablesTellWhenOthersChangeThem) {
  auto firewall = open(Ownership::Plain);
  ASSERT_EQ("ok", outcome(firewall->install(full_policy())));
  EXPECT_EQ(Presence::Ours, presence_of(*firewall));
  EXPECT_FALSE(firewall->drain_monitor()) << "its own changes";
  EXPECT_TRUE(firewall->intact().value_or(false));
  text_of("nft add table inet others && nft add chain inet others x");
  EXPECT_TRUE(firewall->intact().value_or(false)) << "somebody else's table";
  EXPECT_FALSE(firewall->drain_monitor());
  for (const char* change :
       {"nft insert rule inet proxyvpn post accept", "nft flush chain inet proxyvpn out",
        "nft add element inet proxyvpn direct4 { 1.2.3.4 }", "nft flush set inet proxyvpn tun4",
        "nft add chain inet proxyvpn forw '{ policy accept; }'", "nft delete table arp proxyvpn",
        "nft add table inet proxyvpn '{ flags dormant; }'", "nft flush ruleset"}) {
    text_of(change);
    pollfd wait{firewall->monitor_fd(), POLLIN, 0};
    EXPECT_EQ(1, ::poll(&wait, 1, 1000)) << change;
    EXPECT_TRUE(firewall->drain_monitor()) << change;
    EXPECT_FALSE(firewall->intact().value_or(true)) << change;
    ASSERT_EQ("ok", outcome(firewall->install(full_policy()))) << change;
    EXPECT_TRUE(firewall->intact().value_or(false)) << change;
    EXPECT_FALSE(firewall->drain_monitor()) << change;
  }
  firewall.reset();
  auto next = open();
  EXPECT_EQ(Presence::Orphan, presence_of(*next));
  ASSERT_EQ("ok", outcome(next->install(full_policy())));  // plain becomes owned
  EXPECT_NE(0, run("nft delete table inet proxyvpn").status);
  EXPECT_EQ("ok", outcome(next->remove()));
  EXPECT_EQ("", everything());
}

TEST_F(NftnlNetns, NoticesAGuardedLinkThatIsGone) {
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(full_policy())));
  EXPECT_TRUE(firewall->intact().value_or(false));
  text_of("ip link del up0");
  const bool chain_is_there = run("nft list chain netdev proxyvpn egress0").status == 0;
  EXPECT_EQ(chain_is_there, firewall->intact().value_or(!chain_is_there));
  EXPECT_EQ("ok", outcome(firewall->remove()));
}

TEST_F(NftnlNetns, MovesToAnotherTable) {
  auto firewall = open();
  ASSERT_EQ("ok", outcome(firewall->install(full_policy())));
  Policy policy = full_policy();
  policy.table = "other";
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  EXPECT_THAT(listing(), Not(HasSubstr("proxyvpn {")));
  EXPECT_TRUE(firewall->intact().value_or(false));
  EXPECT_EQ("ok", outcome(firewall->remove()));
  EXPECT_EQ("", everything());
}

TEST_F(NftnlNetns, OpeningChangesNothing) {
  for (const Backend backend : {Backend::Auto, Backend::Nftables, Backend::NftCommand,
                                Backend::IptablesNft, Backend::IptablesLegacy}) {
    auto firewall = opened(backend);
    ASSERT_NE(nullptr, firewall);
    EXPECT_EQ(Presence::Absent, presence_of(*firewall));
    EXPECT_EQ("ok", outcome(firewall->remove()));
    EXPECT_TRUE(firewall->counters().value_or(std::vector<Counter>(1)).empty());
  }
  EXPECT_EQ("nftables", opened(Backend::Auto)->name());
  EXPECT_EQ("", everything());
}

}  // namespace
}  // namespace proxyvpn::firewall
