#include "firewall/run_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

namespace proxyvpn::firewall {
namespace {

using ::testing::HasSubstr;

std::string command(const char* name) { return find_command(name).value(); }

TEST(RunCommand, PassesInputAndGivesOutput) {
  const std::string input(1 << 20, 'x');
  const auto output = run_command(command("cat"), {}, input);
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_EQ(0, output->status);
  EXPECT_EQ(input, output->out);
}

TEST(RunCommand, InputCanBeOpenedAsDevStdin) {
  const auto output = run_command(command("cat"), {"/dev/stdin"}, "again");
  ASSERT_TRUE(output.has_value()) << output.error().message;
  EXPECT_EQ("again", output->out);
}

TEST(RunCommand, ReportsStatusAndErrors) {
  const auto output = run_command(command("sh"), {"-c", "echo oops >&2; exit 3"}, {});
  ASSERT_TRUE(output.has_value());
  EXPECT_EQ(3, output->status);
  EXPECT_EQ("oops\n", output->err);
  const auto checked = run_checked(command("sh"), {"-c", "echo oops >&2; exit 3"}, {});
  ASSERT_FALSE(checked.has_value());
  EXPECT_THAT(checked.error().message, HasSubstr("status 3: oops"));
}

TEST(RunCommand, ReportsASignal) {
  const auto output = run_command(command("sh"), {"-c", "kill -TERM $$"}, {});
  ASSERT_TRUE(output.has_value());
  EXPECT_EQ(128 + SIGTERM, output->status);
}

TEST(RunCommand, KillsWhatTakesTooLong) {
  const auto output = run_command(command("sleep"), {"60"}, {}, milliseconds(30));
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(Code::Timeout, output.error().code);
  // Reaped, too.
  EXPECT_EQ(-1, ::waitpid(-1, nullptr, WNOHANG));
}

TEST(RunCommand, KillsWhatWritesWithoutEnd) {
  const auto output = run_command(command("yes"), {}, {});
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(Code::Protocol, output.error().code);
}

TEST(RunCommand, HasItsOwnEnvironmentAndFolder) {
  ::setenv("LD_PRELOAD_TEST", "1", 1);
  const auto output = run_command(command("sh"), {"-c", "env; pwd"}, {});
  ASSERT_TRUE(output.has_value());
  EXPECT_THAT(output->out, HasSubstr("LC_ALL=C\n"));
  EXPECT_THAT(output->out, HasSubstr("PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"));
  EXPECT_THAT(output->out, ::testing::Not(HasSubstr("LD_PRELOAD_TEST")));
  EXPECT_THAT(output->out, ::testing::EndsWith("\n/\n"));
}

TEST(RunCommand, LeavesNoDescriptorBehind) {
  // Counted here and not by a child: that one may look before this process has closed its own ends.
  const auto count = [] {
    const std::filesystem::directory_iterator open("/proc/self/fd");
    return std::distance(begin(open), end(open));
  };
  const auto before = count();
  (void)run_command(command("true"), {}, "x");
  (void)run_command(command("sleep"), {"60"}, {}, milliseconds(10));
  EXPECT_EQ(before, count());
}

TEST(RunCommand, ChildHasOnlyItsThreeDescriptors) {
  const auto listed = run_command(command("sh"), {"-c", "ls /proc/self/fd | wc -l"}, {});
  ASSERT_TRUE(listed.has_value());
  EXPECT_EQ("4\n", listed->out);  // the fourth is the folder that ls reads
}

TEST(RunCommand, SaysWhatCannotBeExecuted) {
  const auto output = run_command("/nonexistent/nft", {}, {});
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(Code::NotFound, output.error().code);
  EXPECT_THAT(output.error().message, HasSubstr("cannot execute /nonexistent/nft"));
}

TEST(FindCommand, AsksOnlyTheSystemsFolders) {
  ::setenv("PATH", "/tmp", 1);
  const auto found = find_command("sh");
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(*found == "/usr/bin/sh" || *found == "/bin/sh") << *found;
  EXPECT_EQ(Code::NotFound, find_command("no-such-command-of-ours").error().code);
}

}  // namespace
}  // namespace proxyvpn::firewall
