#include "app/capabilities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace proxyvpn::app {
namespace {

using ::testing::HasSubstr;

// Privileges that are dropped don't come back: each case has a process of its own. The number of
// the first check that failed is its exit status.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

TEST(ExplainMissing, NamesTheCauseAndTheWayOut) {
  CapabilityFacts facts;
  facts.uid = facts.euid = 1000;
  facts.executable = "/opt/bin/proxyvpn";
  EXPECT_THAT(explain_missing(facts), HasSubstr("setcap cap_net_admin=eip /opt/bin/proxyvpn"));
  facts.file_capability = true;
  facts.nosuid_mount = true;
  EXPECT_THAT(explain_missing(facts), HasSubstr("/opt/bin/proxyvpn carries it, but lies on a file "
                                                "system mounted with nosuid"));
  facts.no_new_privs = true;
  EXPECT_THAT(explain_missing(facts), HasSubstr("no_new_privs is set"));
  facts.bounding = false;
  EXPECT_THAT(explain_missing(facts), HasSubstr("bounding set"));
  facts = {};
  EXPECT_THAT(explain_missing(facts), HasSubstr("although it runs as root"));
  facts.permitted = true;
  EXPECT_EQ(explain_missing(facts), "");
}

TEST(CapabilityFacts, AreThoseOfThisProcess) {
  const auto facts = read_capability_facts();
  EXPECT_EQ(facts.uid, ::getuid());
  EXPECT_THAT(facts.executable, HasSubstr("app_test"));
  EXPECT_EQ(in_child([] {
              ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
              return read_capability_facts().no_new_privs ? 0 : 1;
            }),
            0);
}

TEST(DropAll, LeavesNothingAndNoWayBack) {
  EXPECT_EQ(in_child([] {
              if (!drop_all_capabilities()) return 1;
              const auto facts = read_capability_facts();
              if (facts.permitted || facts.effective || facts.ambient || facts.inheritable)
                return 2;
              if (RaisedCapability(CAP_NET_ADMIN).effective()) return 3;
              return 0;
            }),
            0);
}

// The rest needs a capability to begin with.
class Privileged : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!read_capability_facts().permitted) GTEST_SKIP() << "CAP_NET_ADMIN is not permitted here";
  }
};

TEST_F(Privileged, ASupervisorHasNothingEffectiveButCanRaiseWhatItNeeds) {
  EXPECT_EQ(in_child([] {
              if (!keep_supervisor_capabilities()) return 1;
              if (read_capability_facts(CAP_NET_ADMIN).effective) return 2;
              if (!read_capability_facts(CAP_NET_ADMIN).permitted) return 3;
              if (read_capability_facts(CAP_SYS_ADMIN).permitted) return 4;
              if (read_capability_facts(CAP_NET_RAW).permitted) return 5;
              {
                const RaisedCapability outer(CAP_NET_ADMIN);
                if (!outer.effective()) return 6;
                const bool inner =
                    with_net_admin([] { return read_capability_facts(CAP_NET_ADMIN).effective; });
                if (!inner) return 7;
                // The inner one did not raise it, so it must not have lowered it.
                if (!read_capability_facts(CAP_NET_ADMIN).effective) return 8;
              }
              if (read_capability_facts(CAP_NET_ADMIN).effective) return 9;
              if (RaisedCapability(CAP_SYS_ADMIN).effective()) return 10;
              return 0;
            }),
            0);
}

TEST_F(Privileged, LoweringKeepsErrno) {
  EXPECT_EQ(in_child([] {
              if (!keep_supervisor_capabilities()) return 1;
              with_net_admin([] { errno = EXFULL; });
              return errno == EXFULL ? 0 : 2;
            }),
            0);
}

TEST_F(Privileged, RootWithoutTheKillCapabilityEffectiveStillEndsAChildOfAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_EQ(in_child([] {
              const pid_t child = ::fork();
              if (child == 0) {
                if (::setuid(65534) != 0) ::_exit(1);
                for (;;) ::pause();
              }
              if (!keep_supervisor_capabilities()) return 1;
              // Until the child has changed its user it is root's and could be killed anyway.
              while (::kill(child, 0) == 0) ::usleep(1000);
              if (errno != EPERM) return 2;
              if (!signal_child(child, SIGKILL)) return 3;
              int status = 0;
              if (::waitpid(child, &status, 0) != child) return 4;
              return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : 5;
            }),
            0);
}

TEST(SignalChild, AProcessThatIsGoneIsNoError) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(signal_child(child, SIGKILL));
}

}  // namespace
}  // namespace proxyvpn::app
