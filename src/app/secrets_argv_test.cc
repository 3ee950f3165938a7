#include "app/secrets_argv.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

namespace proxyvpn::app {
namespace {

// Words in memory of our own that may be written to, as main() gets them.
class Words {
 public:
  explicit Words(std::vector<std::string> words) : words_(std::move(words)) {
    for (auto& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  [[nodiscard]] int argc() const { return static_cast<int>(words_.size()); }
  char** argv() { return pointers_.data(); }
  [[nodiscard]] const std::string& at(std::size_t i) const { return words_.at(i); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

TEST(TakeArguments, OverwritesOnlyThePasswordAndGivesTheTextAsItWas) {
  struct Case {
    std::string given;
    std::string left;
  };
  const Case cases[] = {
      {"http://alice:secret@192.0.2.1:8080", "http://alice:******@192.0.2.1:8080"},
      {"--proxy-url=http://alice:secret@[2001:db8::1]:80",
       "--proxy-url=http://alice:******@[2001:db8::1]:80"},
      {"http://alice:s:e@c/r?e#t@host:1", "http://alice:***********@host:1"},
      {"alice:secret@host:1", "alice:******@host:1"},
      {"--proxy-url=alice:secret@host:1", "--proxy-url=alice:******@host:1"},
      {"http://alice:@host:1", "http://alice:@host:1"},
      {"http://alice@host:1", "http://alice@host:1"},
      {"http://host:1", "http://host:1"},
      {"--password=hunter2", "--password=*******"},
      {"--password=", "--password="},
      {"--password-file=/etc/secret", "--password-file=/etc/secret"},
      {"--exclude", "--exclude"},
      {"fd00::/8", "fd00::/8"},
  };
  for (const auto& item : cases) {
    Words words({"proxyvpn", item.given});
    EXPECT_EQ(take_arguments(words.argc(), words.argv()), std::vector<std::string>{item.given});
    EXPECT_EQ(words.at(1), item.left);
  }
}

TEST(TakeArguments, OverwritesTheWordBehindPassword) {
  Words words({"proxyvpn", "up", "--password", "--verbose", "--username", "alice", "--password"});
  const auto copies = take_arguments(words.argc(), words.argv());
  EXPECT_EQ(words.at(3), "*********");
  EXPECT_EQ(words.at(5), "alice");
  EXPECT_EQ(copies.at(2), "--verbose");
  EXPECT_EQ(copies.size(), 6u);
}

TEST(TakeVariable, FindsTheWholeNameOnlyAndOverwritesInPlace) {
  Words environment(
      {"PROXYVPN_PROXY_URL_X=http://a:b@c", "PROXYVPN_PROXY_URL=http://a:secret@c:1"});
  const auto value = take_variable(environment.argv(), "PROXYVPN_PROXY_URL");
  EXPECT_EQ(value, "http://a:secret@c:1");
  EXPECT_EQ(environment.at(1), "PROXYVPN_PROXY_URL=http://a:******@c:1");
  EXPECT_EQ(environment.at(0), "PROXYVPN_PROXY_URL_X=http://a:b@c");
  EXPECT_FALSE(take_variable(environment.argv(), "PROXYVPN"));
  EXPECT_FALSE(take_variable(nullptr, "PROXYVPN"));
}

TEST(Redact, HidesThePasswordOfEveryUrlInAText) {
  EXPECT_EQ(redact("bad URL 'http://a:secret@b:1' and http://c:hidden@d"),
            "bad URL 'http://a:***@b:1' and http://c:***@d");
  EXPECT_EQ(redact("--mtu '9': must be more"), "--mtu '9': must be more");
  EXPECT_EQ(redact("give http://user:pass@host:port"), "give http://user:pass@host:port");
  EXPECT_EQ(redact(""), "");
}

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Runs in a process of its own, started with secrets in its own argument vector and environment,
// and looks at itself as ps(1) would.
void look_at_myself() {
  const auto before = read_file("/proc/self/cmdline");
  ASSERT_NE(before.find("argument-secret"), std::string::npos);
  ASSERT_NE(read_file("/proc/self/environ").find("environment-secret"), std::string::npos);
  // The argument vector lies in one piece behind the name that glibc remembers.
  std::vector<char*> argv;
  for (std::size_t used = 0; used < before.size(); used += std::strlen(argv.back()) + 1) {
    argv.push_back(program_invocation_name + used);
  }
  const auto copies = take_arguments(static_cast<int>(argv.size()), argv.data());
  EXPECT_EQ(copies.back(), "http://alice:argument-secret@host:1");
  EXPECT_EQ(take_variable(environ, "SECRET_URL"), "http://alice:environment-secret@host:1");
  const auto after = read_file("/proc/self/cmdline");
  EXPECT_EQ(after.find("argument-secret"), std::string::npos);
  EXPECT_NE(after.find("http://alice:***************@host:1"), std::string::npos);
  EXPECT_EQ(read_file("/proc/self/environ").find("environment-secret"), std::string::npos);
  // Another exit code than that of a run in which nothing was looked at.
  std::_Exit(::testing::Test::HasFailure() ? 1 : 42);
}

TEST(TakeArguments, TheProcessListShowsNoSecretAfterwards) {
  if (::getenv("SECRET_URL") != nullptr) return look_at_myself();
  std::vector<std::string> arguments{
      "app_test", "--gtest_filter=TakeArguments.TheProcessListShowsNoSecretAfterwards",
      "http://alice:argument-secret@host:1"};
  std::vector<std::string> environment{"SECRET_URL=http://alice:environment-secret@host:1",
                                       "ASAN_OPTIONS=detect_leaks=0"};
  Words argv(arguments);
  Words envp(environment);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::execve("/proc/self/exe", argv.argv(), envp.argv());
    ::_exit(127);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

}  // namespace
}  // namespace proxyvpn::app
