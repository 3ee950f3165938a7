// The kernel of this machine, tried: as root, and as somebody without a privilege.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "app/kernel_probe.h"
#include "testing/netns.h"

namespace proxyvpn::app {
namespace {

using KernelProbeNetns = proxyvpn::testing::NetnsTest;

void expect_all(const KernelTrials& kernel) {
  EXPECT_EQ("", kernel.cannot_try);
  for (const auto name :
       {kTrialNftables, kTrialEgress, kTrialOwner, kTrialRules4, kTrialRules6, kTrialDestroy}) {
    EXPECT_NE(nullptr, kernel.find(name)) << name;
  }
  const auto* rules = kernel.find(kTrialNftables);
  ASSERT_NE(nullptr, rules);
  EXPECT_TRUE(rules->works) << rules->words;
  // Not every kernel can; one that cannot says so, and does not run into a time-out.
  const auto* destroy = kernel.find(kTrialDestroy);
  ASSERT_NE(nullptr, destroy);
  EXPECT_TRUE(destroy->works || destroy->words.find("connecting") == std::string::npos)
      << destroy->words;
}

TEST_F(KernelProbeNetns, TriesEverythingAndLeavesNothing) {
  const auto before = testing::text_of("ip link; ip rule; ip -6 rule; nft list ruleset");
  expect_all(try_kernel());
  EXPECT_EQ(before, testing::text_of("ip link; ip rule; ip -6 rule; nft list ruleset"));
}

TEST_F(KernelProbeNetns, NeedsNoPrivilegeWhereUserNamespacesAreOpen) {
  ASSERT_EQ(0, ::setresgid(65534, 65534, 65534));
  ASSERT_EQ(0, ::setresuid(65534, 65534, 65534));
  const auto kernel = try_kernel();
  if (!kernel.cannot_try.empty()) GTEST_SKIP() << kernel.cannot_try;
  expect_all(kernel);
}

}  // namespace
}  // namespace proxyvpn::app
