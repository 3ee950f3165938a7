#include "selftest/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "selftest/report.h"

namespace proxyvpn::selftest {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// An argv as the kernel lays it out: writable, null-terminated.
class Arguments {
 public:
  explicit Arguments(std::vector<std::string> words) : words_(std::move(words)) {
    words_.insert(words_.begin(), "proxyvpn-selftest");
    for (auto& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  std::variant<Options, Done> parse() {
    return parse_options(static_cast<int>(words_.size()), pointers_.data());
  }
  [[nodiscard]] const std::string& at(std::size_t i) const { return words_[i]; }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

Options parsed(std::vector<std::string> words) {
  auto result = Arguments(std::move(words)).parse();
  if (const auto* done = std::get_if<Done>(&result)) {
    ADD_FAILURE() << done->err;
    return {};
  }
  return std::get<Options>(std::move(result));
}

Done done(std::vector<std::string> words) {
  auto result = Arguments(std::move(words)).parse();
  if (!std::holds_alternative<Done>(result)) {
    ADD_FAILURE() << "these arguments were taken";
    return {};
  }
  return std::get<Done>(std::move(result));
}

TEST(SelftestOptions, DefaultsAreTheDocumentedOnes) {
  const auto options = parsed({});
  EXPECT_EQ("ifconfig.me", options.probe.name);
  EXPECT_EQ(dns::RecordType::A, options.probe.type);
  EXPECT_EQ(milliseconds(1500), options.probe.timeout);
  EXPECT_FALSE(options.server_given);
  EXPECT_TRUE(options.show_ip);
  EXPECT_FALSE(options.probe.tcp);
  EXPECT_FALSE(options.probe.proxy);
  EXPECT_FALSE(options.probe.socket_mark);
}

TEST(SelftestOptions, EveryOptionIsTaken) {
  const auto options =
      parsed({"--name", "example.org", "--type", "aaaa", "--server", "[2001:db8::1]:5353",
              "--timeout-ms", "250", "--no-ip", "--tcp", "--proxy-url",
              "http://u:p@proxy.example:3128", "--socket-mark", "0x20000000"});
  EXPECT_EQ("example.org", options.probe.name);
  EXPECT_EQ(dns::RecordType::Aaaa, options.probe.type);
  EXPECT_EQ("[2001:db8::1]:5353", to_string(options.probe.server));
  EXPECT_EQ(milliseconds(250), options.probe.timeout);
  EXPECT_FALSE(options.show_ip);
  EXPECT_TRUE(options.probe.tcp);
  ASSERT_TRUE(options.probe.proxy && options.probe.proxy->credentials);
  EXPECT_EQ("p", options.probe.proxy->credentials->password.reveal());
  EXPECT_EQ(0x20000000U, options.probe.socket_mark);
}

TEST(SelftestOptions, WrongValuesAreUsageErrorsThatNameThem) {
  const std::vector<std::pair<std::vector<std::string>, const char*>> cases = {
      {{"--server", "dns.example"}, "'dns.example'"},
      {{"--timeout-ms", "0"}, "--timeout-ms"},
      {{"--timeout-ms", "soon"}, "soon"},
      {{"--name", "a b"}, "'a b'"},
      {{"--type", "MX"}, "MX"},
      {{"--proxy-url", "https://proxy.example"}, "--proxy-url"},
      {{"--socket-mark", "2"}, "give --proxy-url too"},
      {{"--socket-mark", "many", "--proxy-url", "http://h:1"}, "many"},
      {{"--proxy-url", "http://h:1", "--server", "fe80::1%eth0"}, "fe80::1%eth0"},
      {{"--nonsense"}, "--nonsense"},
  };
  for (const auto& [words, expected] : cases) {
    const auto result = done(words);
    EXPECT_EQ(kExitUsage, result.exit_code) << expected;
    EXPECT_THAT(result.err, HasSubstr(expected));
    EXPECT_THAT(result.out, IsEmpty());
  }
}

TEST(SelftestOptions, HelpNamesEveryExitCode) {
  const auto help = done({"--help"});
  EXPECT_EQ(kExitOk, help.exit_code);
  for (const char* code :
       {" 0  ", " 2  ", "10  ", "11  ", "12  ", "13  ", "14  ", "15  ", "16  ", "17  "})
    EXPECT_THAT(help.out, HasSubstr(code));
  EXPECT_THAT(help.out, HasSubstr(kProxyUrlVariable));
}

TEST(SelftestOptions, PasswordsLeaveTheProcessList) {
  ASSERT_EQ(0, ::setenv(kProxyUrlVariable, "http://user:from-env@proxy.example:1", 1));
  Arguments arguments({"--proxy-url", "http://user:hunter2@proxy.example:3128"});
  auto result = arguments.parse();
  ASSERT_TRUE(std::holds_alternative<Options>(result));
  EXPECT_EQ("http://user:*******@proxy.example:3128", arguments.at(2));
  EXPECT_STREQ("http://user:********@proxy.example:1", std::getenv(kProxyUrlVariable));
  ::unsetenv(kProxyUrlVariable);
}

TEST(SelftestOptions, PasswordsAreHiddenUpToTheLastAtOfTheirWord) {
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"http://u:a@b@h:1", "http://u:***@h:1"},
      {"--proxy-url=http://u:p@h", "--proxy-url=http://u:*@h"},
      {"http://u:p@h and http://v:q@i", "http://u:*@h and http://v:*@i"},
      {"http://u@h:1/x", "http://u@h:1/x"},
      {"http://u:@h", "http://u:@h"},
      {"http://h:80", "http://h:80"},
      {"fe80::1%eth0", "fe80::1%eth0"},
      {"://", "://"},
  };
  for (auto [text, expected] : cases) {
    hide_passwords(text.data(), text.size());
    EXPECT_EQ(expected, text);
  }
}

TEST(SelftestOptions, TheUrlMayComeFromTheEnvironment) {
  ASSERT_EQ(0, ::setenv(kProxyUrlVariable, "http://user:secret@proxy.example:1", 1));
  const auto options = parsed({});
  ::unsetenv(kProxyUrlVariable);
  ASSERT_TRUE(options.probe.proxy && options.probe.proxy->credentials);
  EXPECT_EQ("secret", options.probe.proxy->credentials->password.reveal());
}

TEST(SelftestOptions, NoErrorTextHoldsAPassword) {
  const std::vector<std::vector<std::string>> cases = {
      {"http://user:hunter2@proxy:1"},
      {"--proxy-url", "ftp://user:hunter2@proxy:1"},
      {"--proxy-url", "http://user:hunter2@proxy:70000"},
      {"--proxy-url=http://user:hunter2@proxy:1", "--oops=http://user:hunter2@proxy:1"}};
  for (const auto& words : cases) {
    const auto result = done(words);
    EXPECT_EQ(kExitUsage, result.exit_code);
    EXPECT_THAT(result.err + result.out, Not(HasSubstr("hunter2")));
  }
}

}  // namespace
}  // namespace proxyvpn::selftest
