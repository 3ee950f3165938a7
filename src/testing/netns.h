#pragma once
// A network namespace of its own for one test case, and commands to look at it from outside the
// code under test. The process never goes back: ctest runs each case in a process of its own, and
// the namespace goes with it.
#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace proxyvpn::testing {

// What a command prints (both streams) and how it ends.
struct Output {
  int status = -1;  // of the shell, as pclose(3) gives it
  std::string text;
};

inline Output run(const std::string& command) {
  Output output;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  std::array<char, 4096> buffer{};
  for (std::size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    output.text.append(buffer.data(), n);
  output.status = ::pclose(pipe);
  return output;
}

// The command's text; the test fails when the command does.
inline std::string text_of(const std::string& command) {
  Output output = run(command);
  EXPECT_EQ(0, output.status) << command << ": " << output.text;
  return output.text;
}

// Is skipped where a namespace can't be made; PROXYVPN_REQUIRE_NETNS=1 makes that a failure.
class NetnsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::unshare(CLONE_NEWNET) == 0) {
      text_of("ip link set dev lo up");
      return;
    }
    const std::string why =
        std::string("no network namespace can be made here: ") + std::strerror(errno);
    const char* required = std::getenv("PROXYVPN_REQUIRE_NETNS");
    if (required != nullptr && std::string(required) == "1") FAIL() << why;
    GTEST_SKIP() << why;
  }
};

}  // namespace proxyvpn::testing
