// The back ends that run commands, against a real kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firewall/command_firewall.h"
#include "firewall/netns_test_fixture.h"

namespace proxyvpn::firewall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CommandNetns : public NetnsTest, public ::testing::WithParamInterface<Backend> {
 protected:
  void SetUp() override {
    NetnsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    add_links();
    firewall_ = opened(GetParam());
    ASSERT_NE(nullptr, firewall_);
  }
  // What this back end can do of it.
  static Policy policy_of(Mode mode, bool full) {
    Policy policy = full ? full_policy() : Policy{};
    policy.mode = mode;
    if (GetParam() != Backend::NftCommand) {
      policy.guarded_uplinks.clear();
      policy.guarded_ports.clear();
    }
    return policy;
  }
  Presence presence() { return firewall_->presence().value_or(Presence::Owned); }
  std::unique_ptr<Firewall> firewall_;
};

TEST_P(CommandNetns, LoadsEveryPolicyAndLeavesNothing) {
  const std::string before = everything();
  for (const bool full : {true, false}) {
    for (const Mode mode : {Mode::Guarded, Mode::Open, Mode::Shut, Mode::Guarded}) {
      ASSERT_EQ("ok", outcome(firewall_->install(policy_of(mode, full))));
      EXPECT_EQ(Presence::Ours, presence());
      EXPECT_TRUE(firewall_->intact().value_or(false));
      EXPECT_FALSE(firewall_->drain_monitor()) << "its own changes";
      const auto counters = firewall_->counters();
      ASSERT_TRUE(counters.has_value());
      EXPECT_EQ(7U, counters->size());
    }
  }
  ASSERT_EQ("ok", outcome(firewall_->remove()));
  EXPECT_EQ(Presence::Absent, presence());
  EXPECT_EQ(before, everything());
}

TEST_P(CommandNetns, FindsAndRemovesWhatACrashLeft) {
  const std::string before = everything();
  ASSERT_EQ("ok", outcome(firewall_->install(policy_of(Mode::Guarded, true))));
  firewall_ = opened(GetParam());
  EXPECT_EQ(Presence::Orphan, presence());
  EXPECT_FALSE(firewall_->intact().value_or(true));
  ASSERT_EQ("ok", outcome(firewall_->install(policy_of(Mode::Shut, true))));
  EXPECT_EQ(Presence::Ours, presence());
  firewall_ = opened(GetParam());
  ASSERT_EQ("ok", outcome(firewall_->remove()));
  EXPECT_EQ("ok", outcome(firewall_->remove()));
  EXPECT_EQ(Presence::Absent, presence());
  EXPECT_EQ(before, everything());
}

TEST_P(CommandNetns, NoticesWhatOthersChange) {
  const Policy policy = policy_of(Mode::Guarded, true);
  ASSERT_EQ("ok", outcome(firewall_->install(policy)));
  std::vector<std::string> changes;
  if (GetParam() == Backend::NftCommand) {
    changes = {"nft insert rule inet proxyvpn post accept", "nft flush ruleset",
               "nft add element inet proxyvpn direct4 { 1.2.3.4 }",
               "nft delete table arp proxyvpn"};
  } else {
    const std::string variant = GetParam() == Backend::IptablesNft ? "nft" : "legacy";
    changes = {"iptables-" + variant + " -I PROXYVPN_OUT 1 -j ACCEPT",
               "iptables-" + variant + " -I OUTPUT 1 -j ACCEPT",
               "ip6tables-" + variant + " -t mangle -F",
               "iptables-" + variant + " -D OUTPUT -j PROXYVPN_OUT"};
  }
  for (const std::string& change : changes) {
    text_of(change);
    EXPECT_EQ(firewall_->monitor_fd() >= 0, firewall_->drain_monitor()) << change;
    EXPECT_FALSE(firewall_->intact().value_or(true)) << change;
    ASSERT_EQ("ok", outcome(firewall_->install(policy))) << change;
    EXPECT_TRUE(firewall_->intact().value_or(false)) << change;
  }
}

TEST_P(CommandNetns, LeavesTheRulesOfOthersAlone) {
  const bool legacy = GetParam() == Backend::IptablesLegacy;
  const std::string variant = legacy ? "legacy" : "nft";
  text_of("iptables-" + variant + " -A OUTPUT -p udp --dport 9 -j DROP && ip6tables-" + variant +
          " -t mangle -N OTHERS && nft add table inet others");
  const std::string save = "iptables-" + variant + "-save -t filter | grep -v '^#'; ip6tables-" +
                           variant + "-save -t mangle | grep -v '^#'; nft list table inet others";
  const std::string before = text_of(save);
  ASSERT_EQ("ok", outcome(firewall_->install(policy_of(Mode::Guarded, true))));
  EXPECT_THAT(text_of(save), HasSubstr("-A OUTPUT -p udp -m udp --dport 9 -j DROP"));
  ASSERT_EQ("ok", outcome(firewall_->remove()));
  EXPECT_EQ(before, text_of(save));
}

// Permitted, not even effective: what a binary with a file capability has between its calls.
void become_ordinary_user_with_net_admin() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  data[0].permitted = 1U << CAP_NET_ADMIN;
  const bool done = ::prctl(PR_SET_KEEPCAPS, 1) == 0 && ::setresgid(65534, 65534, 65534) == 0 &&
                    ::setresuid(65534, 65534, 65534) == 0 &&
                    ::syscall(SYS_capset, &header, data) == 0;
  if (!done) ::_exit(99);
}

TEST_P(CommandNetns, WorksForAnOrdinaryUserWithTheCapability) {
  const pid_t child = ::fork();
  if (child == 0) {
    become_ordinary_user_with_net_admin();
    auto firewall = open_firewall(GetParam());
    const bool done = firewall && (*firewall)->install(policy_of(Mode::Guarded, true)) &&
                      (*firewall)->intact().value_or(false) && (*firewall)->remove();
    ::_exit(done ? 0 : (firewall ? 1 : 2));
  }
  int status = -1;
  ASSERT_EQ(child, ::waitpid(child, &status, 0));
  // iptables-legacy wants root's lock file and a raw socket: it says so instead.
  EXPECT_EQ(GetParam() == Backend::IptablesLegacy ? 2 : 0, WEXITSTATUS(status));
}

TEST_P(CommandNetns, SaysWhenItMayNot) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool done =
        ::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0;
    auto firewall = open_firewall(GetParam());
    ::_exit(done && !firewall && firewall.error().code == Code::Permission ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(child, ::waitpid(child, &status, 0));
  EXPECT_EQ(0, WEXITSTATUS(status));
}

TEST_P(CommandNetns, SaysWhatItRefuses) {
  Policy policy = policy_of(Mode::Guarded, true);
  policy.inside_links = {"a b"};
  auto refused = firewall_->install(policy);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(Code::InvalidArgument, refused.error().code);
  EXPECT_EQ(Presence::Absent, presence());
  if (GetParam() == Backend::NftCommand) return;
  refused = firewall_->install(full_policy());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(Code::Unsupported, refused.error().code);
  EXPECT_THAT(refused.error().message, HasSubstr("--egress-guard needs nftables"));
  EXPECT_EQ(Presence::Absent, presence());
}

INSTANTIATE_TEST_SUITE_P(Backends, CommandNetns,
                         ::testing::Values(Backend::NftCommand, Backend::IptablesNft,
                                           Backend::IptablesLegacy),
                         backend_name);

struct Crossing {
  Backend before;
  Backend after;
};
class Leftovers : public NetnsTest, public ::testing::WithParamInterface<Crossing> {};

// One back end's rules after a crash, found, replaced and removed through another.
TEST_P(Leftovers, AreTakenAway) {
  const std::string clean = everything();
  const auto crash = [] {
    auto firewall = opened(GetParam().before);
    ASSERT_EQ("ok", outcome(firewall->install(Policy{})));
  };
  crash();
  auto firewall = opened(GetParam().after);
  EXPECT_EQ(Presence::Orphan, firewall->presence().value_or(Presence::Absent));
  ASSERT_EQ("ok", outcome(firewall->remove()));
  EXPECT_EQ(Presence::Absent, firewall->presence().value_or(Presence::Owned));
  EXPECT_EQ(clean, everything());
  ASSERT_EQ("ok", outcome(firewall->install(Policy{})));
  const std::string alone = everything();
  ASSERT_EQ("ok", outcome(firewall->remove()));
  crash();
  ASSERT_EQ("ok", outcome(firewall->install(Policy{})));
  const std::string owner = " # progname [^\n]*|\tflags [a-z,]*\n\n?";
  EXPECT_EQ(std::regex_replace(alone, std::regex(owner), ""),
            std::regex_replace(everything(), std::regex(owner), ""));
  EXPECT_TRUE(firewall->intact().value_or(false));
  ASSERT_EQ("ok", outcome(firewall->remove()));
  EXPECT_EQ(clean, everything());
}

std::vector<Crossing> crossings() {
  const std::vector<Backend> all{Backend::Nftables, Backend::NftCommand, Backend::IptablesNft,
                                 Backend::IptablesLegacy};
  std::vector<Crossing> found;
  for (const Backend before : all) {
    for (const Backend after : all) {
      if (before != after) found.push_back({before, after});
    }
  }
  return found;
}

INSTANTIATE_TEST_SUITE_P(
    Backends, Leftovers, ::testing::ValuesIn(crossings()), [](const auto& each) {
      return backend_name({each.param.before, 0}) + "To" + backend_name({each.param.after, 0});
    });

TEST_F(NetnsTest, IptablesDoesNotStartBesideALiveOwner) {
  auto owner = opened(Backend::Nftables);
  ASSERT_EQ("ok", outcome(owner->install(Policy{})));
  for (const Backend backend : {Backend::IptablesNft, Backend::IptablesLegacy}) {
    auto firewall = opened(backend);
    EXPECT_EQ(Presence::Owned, firewall->presence().value_or(Presence::Absent));
    const auto refused = firewall->install(Policy{});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(Code::Busy, refused.error().code);
  }
  EXPECT_TRUE(owner->intact().value_or(false));
}

class NftCommandNetns : public NetnsTest {};

TEST_F(NftCommandNetns, DoesNotTouchATableThatIsOwned) {
  auto owner = opened(Backend::Nftables);
  ASSERT_EQ("ok", outcome(owner->install(Policy{})));
  auto firewall = opened(Backend::NftCommand);
  EXPECT_EQ(Presence::Owned, firewall->presence().value_or(Presence::Absent));
  for (const auto& refused : {firewall->install(Policy{}), firewall->remove()}) {
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(Code::Busy, refused.error().code);
  }
  EXPECT_TRUE(owner->intact().value_or(false));
}

TEST_F(NftCommandNetns, TakesOverTheOrphanOfAnOwner) {
  ASSERT_EQ("ok", outcome(opened(Backend::Nftables)->install(Policy{})));
  auto firewall = opened(Backend::NftCommand);
  EXPECT_EQ(Presence::Orphan, firewall->presence().value_or(Presence::Absent));
  ASSERT_EQ("ok", outcome(firewall->install(Policy{})));
  EXPECT_EQ(Presence::Ours, firewall->presence().value_or(Presence::Absent));
  EXPECT_EQ("ok", outcome(firewall->remove()));
  EXPECT_EQ("", everything());
}

// Counters and seen flows stay when only rules and elements change.
TEST_F(NftCommandNetns, ReplacesInPlace) {
  auto firewall = opened(Backend::NftCommand);
  ASSERT_EQ("ok", outcome(firewall->install(Policy{})));
  text_of("nft add element inet proxyvpn seen4 { 192.0.2.1 . 22 . 192.0.2.9 . 4000 }");
  EXPECT_TRUE(firewall->intact().value_or(false)) << "what packets fill is not a change";
  Policy policy = full_policy();
  policy.guarded_uplinks.clear();
  policy.guarded_ports.clear();
  ASSERT_EQ("ok", outcome(firewall->install(policy)));
  EXPECT_THAT(listing(), HasSubstr("192.0.2.1 . 22 . 192.0.2.9 . 4000"));
  ASSERT_EQ("ok", outcome(firewall->install(Policy{})));
  EXPECT_THAT(listing(), Not(HasSubstr("203.0.113.10")));
}

}  // namespace
}  // namespace proxyvpn::firewall
