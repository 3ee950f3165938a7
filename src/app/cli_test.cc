#include "app/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace proxyvpn::app {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// With the null pointer at the end that argv and environ have.
std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result(words.size() + 1, nullptr);
  for (std::size_t i = 0; i < words.size(); ++i) result[i] = words[i].data();
  return result;
}

// The configuration files of the machine that runs the tests do not count.
Parsed parse(std::vector<std::string> words, std::vector<std::string> environment = {},
             const ConfigPaths& paths = {"", ""}) {
  words.insert(words.begin(), "proxyvpn");
  auto argv = pointers(words);
  auto envp = pointers(environment);
  return parse_command_line(static_cast<int>(words.size()), argv.data(), envp.data(), paths);
}

// What stands on a person's terminal.
std::string told(const Parsed& parsed) {
  std::string text;
  for (const auto& mistake : parsed.mistakes) text += "proxyvpn: error: " + mistake + "\n";
  return text + parsed.hint;
}

Config config_of(const Parsed& parsed) {
  EXPECT_TRUE(parsed.command_line) << told(parsed);
  return parsed.command_line ? parsed.command_line->config : Config{};
}

TEST(CommandLine, UpIsTheDefaultCommandAndDefaultsAreTheReferences) {
  for (const auto& words : {std::vector<std::string>{"up", "--proxy-url", "http://192.0.2.10:8080"},
                            std::vector<std::string>{"--proxy-url=http://192.0.2.10:8080"}}) {
    const auto parsed = parse(words);
    const auto config = config_of(parsed);
    EXPECT_EQ(parsed.command_line->command, Command::Up);
    EXPECT_EQ(config.proxy.host, "192.0.2.10");
    EXPECT_EQ(config.proxy.port, 8080);
    EXPECT_FALSE(config.proxy.credentials);
    EXPECT_EQ(config.tun_name, "tun0");
    EXPECT_EQ(to_string(config.tun_cidr), "10.255.255.1/30");
    EXPECT_EQ(to_string(config.tun_cidr6.value()), "fd70:7278:7976::1/126");
    EXPECT_EQ(config.mtu, 1500u);
    EXPECT_EQ(config.state_dir, "/run/proxyvpn");
    EXPECT_FALSE(config.state_dir_given);
    EXPECT_EQ(config.connect_timeout, milliseconds(10'000));
    EXPECT_TRUE(config.killswitch);
    EXPECT_TRUE(config.offload && config.fast_open);
    EXPECT_EQ(config.backend, firewall::Backend::Auto);
    EXPECT_EQ(config.marks, firewall::Marks{});
    EXPECT_EQ(config.table, netlink::kDefaultTable);
    EXPECT_EQ(config.rule_priority, 200u);
    EXPECT_EQ(config.fallback_priority, 32800u);
    EXPECT_EQ(config.memory_budget, 256ull << 20);
    EXPECT_FALSE(config.verbose || config.dry_run || config.keep_logs || config.detach);
  }
}

TEST(CommandLine, EveryOptionReachesTheConfig) {
  const auto config = config_of(parse({"up",
                                       "--proxy-host",
                                       "2001:db8::10",
                                       "--proxy-port",
                                       "3128",
                                       "--username",
                                       "alice",
                                       "--password",
                                       "",
                                       "--proxy-ip",
                                       "192.0.2.1",
                                       "--proxy-ip",
                                       "2001:db8::1",
                                       "--tun-name",
                                       "vpn9",
                                       "--tun-cidr",
                                       "10.9.8.1/24",
                                       "--tun-cidr6",
                                       "none",
                                       "--mtu",
                                       "9000",
                                       "--dns",
                                       "192.0.2.53",
                                       "--allow-dns",
                                       "8.8.8.8",
                                       "--allow-dns",
                                       "8.8.4.4",
                                       "--exclude",
                                       "10.0.0.0/8",
                                       "--exclude",
                                       "fd00::/8",
                                       "--allow-lan",
                                       "--exempt-user",
                                       "65534",
                                       "--persist-killswitch",
                                       "--egress-guard",
                                       "--firewall",
                                       "iptables-nft",
                                       "--mark-capture",
                                       "0x1",
                                       "--mark-bypass",
                                       "0x2",
                                       "--mark-mask",
                                       "0x3",
                                       "--route-table",
                                       "100",
                                       "--rule-priority",
                                       "1000",
                                       "--fallback-priority",
                                       "40000",
                                       "--no-offload",
                                       "--state-dir",
                                       "/tmp/x",
                                       "--detach",
                                       "--verbose",
                                       "--dry-run",
                                       "--keep-logs",
                                       "--workers",
                                       "2",
                                       "--preconnect",
                                       "8",
                                       "--source-address",
                                       "192.0.2.5",
                                       "--source-address",
                                       "2001:db8::5",
                                       "--no-fast-open",
                                       "--connect-timeout",
                                       "2.5",
                                       "--memory-budget",
                                       "64M",
                                       "--metrics",
                                       "[::1]:9095"}));
  EXPECT_EQ(config.proxy.host, "2001:db8::10");
  EXPECT_EQ(config.proxy.port, 3128);
  ASSERT_TRUE(config.proxy.credentials);
  EXPECT_EQ(config.proxy.credentials->username, "alice");
  EXPECT_EQ(config.proxy.credentials->password.reveal(), "");
  EXPECT_EQ(config.proxy_ips.size(), 2u);
  EXPECT_EQ(config.tun_name, "vpn9");
  EXPECT_EQ(to_string(config.tun_cidr), "10.9.8.1/24");
  EXPECT_FALSE(config.tun_cidr6);
  EXPECT_EQ(config.mtu, 9000u);
  EXPECT_EQ(config.dns.size(), 3u);
  EXPECT_EQ(config.exclude.size(), 2u);
  EXPECT_TRUE(config.allow_lan && config.persist_killswitch && config.egress_guard);
  EXPECT_EQ(config.exempt_users, std::vector<uid_t>{65534});
  EXPECT_EQ(config.backend, firewall::Backend::IptablesNft);
  EXPECT_EQ(config.marks, (firewall::Marks{3, 1, 2, 3}));
  EXPECT_EQ(config.table, 100u);
  EXPECT_EQ(config.rule_priority, 1000u);
  EXPECT_EQ(config.fallback_priority, 40000u);
  EXPECT_FALSE(config.offload);
  EXPECT_EQ(config.state_dir, "/tmp/x");
  EXPECT_TRUE(config.state_dir_given);
  EXPECT_TRUE(config.detach && config.verbose && config.dry_run && config.keep_logs);
  EXPECT_EQ(config.workers, 2u);
  EXPECT_EQ(config.preconnect, 8u);
  EXPECT_EQ(config.source_addresses.size(), 2u);
  EXPECT_FALSE(config.fast_open);
  EXPECT_EQ(config.connect_timeout, milliseconds(2500));
  EXPECT_EQ(config.memory_budget, 64ull << 20);
  ASSERT_TRUE(config.metrics);
  EXPECT_EQ(to_string(*config.metrics), "[::1]:9095");
}

TEST(CommandLine, AWrongValueGetsASentenceWithTheValueAndExitCode2) {
  const std::vector<std::string> proxy{"up", "--proxy-url", "http://192.0.2.10:8080"};
  struct Case {
    std::vector<std::string> more;
    const char* sentence;
  };
  const Case cases[] = {
      {{"--mtu", "99"}, "--mtu '99': must be a number from 1280 to 65535"},
      {{"--tun-name", "a-name-that-is-too-long"}, "too long: the kernel takes at most 15"},
      {{"--tun-cidr", "10.0.0.1/31"}, "--tun-cidr '10.0.0.1/31': is too small"},
      {{"--exclude", "10.0.0.0/40"}, "--exclude '10.0.0.0/40'"},
      {{"--exempt-user", "no-such-user-here"}, "no such user"},
      {{"--firewall", "pf"}, "--firewall 'pf'"},
      {{"--mark-capture", "0x40000000"}, "must lie within --mark-mask"},
      {{"--mark-bypass", "0x10000000"}, "a bit that the other has not"},
      {{"--route-table", "254"}, "the system's own tables"},
      {{"--rule-priority", "32766"}, "--rule-priority '32766'"},
      {{"--fallback-priority", "100"}, "--fallback-priority '100'"},
      {{"--state-dir", "here"}, "must be an absolute path"},
      {{"--connect-timeout", "never"}, "--connect-timeout 'never'"},
      {{"--workers", "1000"}, "--workers '1000'"},
      {{"--memory-budget", "1"}, "--memory-budget '1'"},
      {{"--metrics", "localhost:9095"}, "--metrics 'localhost:9095': must be 127.0.0.1:PORT"},
      {{"--proxy-ip", "proxy"}, "--proxy-ip 'proxy'"},
      {{"--password", "x"}, "a password is given but no user name"},
      {{"--username", "a:b"}, "no ':'"},
      {{"--no-killswitch", "--persist-killswitch"}, "--no-killswitch"},
      {{"--no-killswitch", "--egress-guard"}, "--no-killswitch"},
      {{"--proxy-host", "h", "--proxy-port", "1"}, "--proxy-url"},
      {{"--bogus"}, "there is no option '--bogus'"},
      {{"--bogus=hunter2"}, "there is no option '--bogus'\n"},
      {{"down"}, "must stand in front of the options"},
      {{"--mtu"}, "--mtu"},
  };
  for (const auto& item : cases) {
    auto words = proxy;
    words.insert(words.end(), item.more.begin(), item.more.end());
    const auto parsed = parse(words);
    EXPECT_FALSE(parsed.command_line) << item.sentence;
    EXPECT_EQ(parsed.exit_code, kExitUsage) << item.sentence;
    EXPECT_THAT(told(parsed), HasSubstr(item.sentence));
    EXPECT_EQ(parsed.output, "");
  }
}

TEST(CommandLine, AProxyThatCannotBeUsedIsNamed) {
  struct Case {
    std::vector<std::string> words;
    const char* sentence;
  };
  const Case cases[] = {
      {{"--proxy-host", "h"}, "--proxy-port"},
      {{"--proxy-port", "1"}, "--proxy-host"},
      {{"--proxy-host", "h", "--proxy-port", "0"}, "--proxy-port '0'"},
      {{"--proxy-host", "h", "--proxy-port", "70000"}, "--proxy-port '70000'"},
      {{"--proxy-host", "http://h", "--proxy-port", "1"}, "use --proxy-url"},
      {{"--proxy-host", "", "--proxy-port", "1"}, "--proxy-host ''"},
      {{"--proxy-url", "http://h:0"}, "proxy URL"},
      {{"--proxy-url", "http://h:70000"}, "70000"},
      {{"--proxy-url", "ftp://h:1"}, "its scheme is not http"},
      {{"--proxy-url", "http://"}, "proxy URL"},
      {{"--verbose"}, "no proxy is given"},
  };
  for (const auto& item : cases) {
    const auto parsed = parse(item.words);
    EXPECT_EQ(parsed.exit_code, kExitUsage) << item.sentence;
    EXPECT_THAT(told(parsed), HasSubstr(item.sentence));
  }
}

TEST(CommandLine, MistakesAreToldInTheFormOfTheLog) {
  const std::vector<std::pair<std::vector<std::string>, LogFormat>> cases = {
      {{"--mtu", "9", "--log-format", "json"}, LogFormat::Json},
      {{"--log-format=json", "--bogus"}, LogFormat::Json},
      {{"--log-format", "journal", "--mtu"}, LogFormat::Journal},
      {{"--log-format", "json"}, LogFormat::Json},
      {{"--log-format", "merry"}, LogFormat::Auto},
      {{"--bogus"}, LogFormat::Auto},
      {{"status", "--bogus", "--log-format", "json"}, LogFormat::Auto},
  };
  for (const auto& [words, format] : cases) {
    const auto parsed = parse(words);
    EXPECT_EQ(parsed.log_format, format) << told(parsed);
    EXPECT_FALSE(parsed.mistakes.empty());
  }
}

TEST(CommandLine, NothingAtAllIsExplainedInThreeLines) {
  const auto parsed = parse({});
  EXPECT_EQ(parsed.exit_code, kExitUsage);
  EXPECT_THAT(told(parsed), HasSubstr("--proxy-url http://user:pass@host:port"));
  const std::string text = told(parsed);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
}

TEST(CommandLine, TheEnvironmentGivesTheProxyWhenTheCommandLineDoesNot) {
  const std::vector<std::string> environment{"PROXYVPN_PROXY_URL=http://bob:pw@192.0.2.7:1"};
  const auto from_environment = config_of(parse({}, environment));
  EXPECT_EQ(from_environment.proxy.host, "192.0.2.7");
  EXPECT_EQ(from_environment.proxy.credentials.value().password.reveal(), "pw");
  EXPECT_EQ(config_of(parse({"--proxy-url", "http://h:2"}, environment)).proxy.host, "h");
  EXPECT_EQ(config_of(parse({"--proxy-host", "h", "--proxy-port", "2"}, environment)).proxy.port,
            2);
}

TEST(CommandLine, UserAndPasswordMayComeFromDifferentPlacesButNotTwice) {
  const auto both = config_of(parse({"--proxy-url", "http://alice@h:1", "--password", "x"}));
  EXPECT_EQ(both.proxy.credentials.value().username, "alice");
  EXPECT_EQ(both.proxy.credentials.value().password.reveal(), "x");
  const auto options =
      config_of(parse({"--proxy-url", "http://h:1", "--username", "bob", "--password", "y"}));
  EXPECT_EQ(options.proxy.credentials.value().password.reveal(), "y");
  const auto only_name = config_of(parse({"--proxy-url", "http://h:1", "--username", "bob"}));
  EXPECT_TRUE(only_name.proxy.credentials.value().password.empty());
  EXPECT_THAT(told(parse({"--proxy-url", "http://a:hunter2@h:1", "--password", "hunter3"})),
              HasSubstr("two passwords"));
  EXPECT_THAT(told(parse({"--proxy-url", "http://a@h:1", "--username", "b"})),
              HasSubstr("two user names"));
  EXPECT_THAT(
      told(parse({"--proxy-url", "http://a@h:1", "--password", "x", "--password-file", "/x"})),
      HasSubstr("--password"));
}

TEST(CommandLine, NoErrorTextHoldsASecret) {
  for (const auto& words : {
           std::vector<std::string>{"--proxy-url", "ftp://alice:hunter2@h:1"},
           std::vector<std::string>{"--proxy-url", "http://alice:hunter2@h:70000"},
           std::vector<std::string>{"--proxy-url", "http://alice:hunter2@"},
           std::vector<std::string>{"--proxy-url", "http://alice:hunter2@h:1", "--password",
                                    "hunter2"},
           std::vector<std::string>{"--proxy-url", "http://a@h:1", "--password", "hunter2\n"},
           std::vector<std::string>{"--proxy-host", "alice:hunter2@h", "--proxy-port", "1"},
           std::vector<std::string>{"http://alice:hunter2@h:1"},
           std::vector<std::string>{"--username", "a", "--password", "my", "hunter2"},
           std::vector<std::string>{"--pasword=hunter2"},
           std::vector<std::string>{"--proxy-url", "http://a@h:1", "--username", "a:hunter2"},
       }) {
    const auto parsed = parse(words);
    EXPECT_FALSE(parsed.command_line);
    EXPECT_NE(told(parsed), "");
    EXPECT_THAT(told(parsed), Not(HasSubstr("hunter2")));
  }
}

TEST(CommandLine, AnUnreadablePasswordFileIsAFailureOfTheMachine) {
  const auto parsed =
      parse({"--proxy-url", "http://a@h:1", "--password-file", "/nonexistent/secret"});
  EXPECT_EQ(parsed.exit_code, kExitFailure);
  EXPECT_THAT(told(parsed), HasSubstr("/nonexistent/secret"));
}

TEST(CommandLine, AWorldReadablePasswordFileIsAWarning) {
  std::string path = "/tmp/proxyvpn-cli-XXXXXX";
  const int fd = ::mkstemp(path.data());
  ASSERT_GE(fd, 0);
  ::fchmod(fd, 0644);
  ::close(fd);
  std::ofstream(path) << "pw\n";
  const auto parsed = parse({"--proxy-url", "http://a@h:1", "--password-file", path});
  ::unlink(path.c_str());
  EXPECT_EQ(config_of(parsed).proxy.credentials.value().password.reveal(), "pw");
  ASSERT_EQ(parsed.command_line->warnings.size(), 1u);
  EXPECT_THAT(parsed.command_line->warnings.front(), HasSubstr(path));
}

TEST(CommandLine, HelpHasTheReferencesGroupsAndDefaults) {
  for (const auto& words :
       {std::vector<std::string>{"--help"}, std::vector<std::string>{"up", "--help"},
        std::vector<std::string>{"-h"}}) {
    const auto parsed = parse(words);
    EXPECT_EQ(parsed.exit_code, 0);
    EXPECT_EQ(told(parsed), "");
    for (const auto* text :
         {"Proxy Configuration:", "Network Configuration:", "General:", "--proxy-url <URL>",
          "--tun-name <NAME>", "[default: tun0]", "[default: 10.255.255.1/30]",
          "[default: /run/proxyvpn]", "[default: 1500]", "--no-killswitch", "down", "--keep-logs",
          "--version", "-h, --help"}) {
      EXPECT_THAT(parsed.output, HasSubstr(text));
    }
    EXPECT_LT(parsed.output.find("Proxy Configuration:"),
              parsed.output.find("Network Configuration:"));
    EXPECT_LT(parsed.output.find("Network Configuration:"), parsed.output.find("General:"));
  }
}

TEST(CommandLine, VersionAndDown) {
  const auto version = parse({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.output, version_text() + "\n");
  EXPECT_EQ(parse({"up", "--version"}).output, version.output);
  const auto down = parse({"down", "--state-dir", "/tmp/y", "--firewall", "nft"});
  ASSERT_TRUE(down.command_line) << told(down);
  EXPECT_EQ(down.command_line->command, Command::Down);
  EXPECT_EQ(down.command_line->config.state_dir, "/tmp/y");
  EXPECT_EQ(down.command_line->config.backend, firewall::Backend::NftCommand);
  EXPECT_TRUE(parse({"down"}).command_line);
  EXPECT_THAT(parse({"down", "--help"}).output, HasSubstr("--state-dir"));
  EXPECT_EQ(parse({"down", "--mtu", "1500"}).exit_code, kExitUsage);
}

}  // namespace
}  // namespace proxyvpn::app
