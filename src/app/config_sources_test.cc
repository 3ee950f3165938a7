#include "app/config_sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "app/config_command.h"

namespace proxyvpn::app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Sourced : public ::testing::Test {
 protected:
  Sourced() {
    std::string name = "/tmp/proxyvpn-config-XXXXXX";
    directory_ = ::mkdtemp(name.data());
    paths_ = {directory_ + "/system.toml", directory_ + "/user.toml"};
  }
  ~Sourced() override {
    for (const auto& path : {paths_.system, paths_.user, directory_ + "/other.toml"}) {
      ::unlink(path.c_str());
    }
    ::rmdir(directory_.c_str());
  }
  static void write(const std::string& path, const std::string& text, mode_t mode = 0600) {
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
  }
  static Origin typed() { return {Place::CommandLine, "command line", {}}; }

  std::string directory_;
  ConfigPaths paths_;
};

TEST_F(Sourced, TheHigherPlaceWinsForEachKeyAlone) {
  write(paths_.system, "mtu = 1401\ndns = [\"192.0.2.1\"]\nworkers = 1\ntun-name = \"sys0\"\n");
  write(paths_.user,
        "mtu = 1402\ndns = [\"192.0.2.2\", \"192.0.2.3\"]\nproxy-url = \"http://file:1\"\n");
  Sources sources;
  sources.paths = paths_;
  sources.proxy_url = "http://environment:1";
  sources.typed.mtu = "1403";
  sources.typed.origins["mtu"] = typed();
  const auto judgement = judge_sources(sources);
  ASSERT_THAT(judgement.mistakes, IsEmpty());
  const auto& config = judgement.checked.config;
  EXPECT_EQ(config.mtu, 1403u);
  EXPECT_EQ(config.proxy.host, "environment");
  ASSERT_EQ(config.dns.size(), 2u);
  EXPECT_EQ(to_string(config.dns[0]), "192.0.2.2");
  EXPECT_EQ(config.tun_name, "sys0");
  EXPECT_EQ(config.workers, 1u);
}

TEST_F(Sourced, AnOptionOfAHigherPlaceTakesAwayWhatItExcludes) {
  write(paths_.user, "proxy-url = \"http://file:1\"\nno-killswitch = true\n");
  Sources sources;
  sources.paths = paths_;
  auto& typed_flags = sources.typed;
  typed_flags.proxy_host = "typed";
  typed_flags.proxy_port = "2";
  typed_flags.persist_killswitch = true;
  for (const char* name : {"proxy-host", "proxy-port", "persist-killswitch"}) {
    typed_flags.origins[name] = typed();
  }
  const auto judgement = judge_sources(sources);
  ASSERT_THAT(judgement.mistakes, IsEmpty());
  EXPECT_EQ(judgement.checked.config.proxy.host, "typed");
  EXPECT_TRUE(judgement.checked.config.killswitch);
}

TEST_F(Sourced, WithinOneFileWhatExcludesEachOtherIsAMistake) {
  write(paths_.user, "proxy-url = \"http://h:1\"\nno-killswitch = true\negress-guard = true\n");
  const auto report = check_config(paths_, std::nullopt);
  EXPECT_THAT(report.mistakes,
              ElementsAre(paths_.user + ":3:16: egress-guard cannot be given together with "
                                        "--no-killswitch"));
}

TEST_F(Sourced, CredentialsOfAHigherPlaceCount) {
  write(paths_.user, "username = \"bob\"\npassword = \"of-bob\"\n");
  Sources sources;
  sources.paths = paths_;
  const auto with = [&](const char* url) {
    sources.proxy_url = url;
    auto judgement = judge_sources(sources);
    EXPECT_THAT(judgement.mistakes, IsEmpty());
    return judgement.checked.config.proxy.credentials.value();
  };
  EXPECT_EQ(with("http://h:1").username, "bob");
  EXPECT_EQ(with("http://h:1").password.reveal(), "of-bob");
  EXPECT_EQ(with("http://alice:hers@h:1").username, "alice");
  EXPECT_EQ(with("http://alice:hers@h:1").password.reveal(), "hers");
}

TEST_F(Sourced, ValuesAreJudgedWithTheirPlace) {
  write(paths_.user,
        "mtu = 99\ndns = [\"192.0.2.1\", \"nowhere\"]\nmark-mask = 0x3\nstate-dir = \"run\"\n"
        "proxy-url = \"http://a@h:1\"\npassword-file = \"secret\"\n");
  const auto report = check_config(paths_, std::nullopt);
  EXPECT_THAT(report.mistakes,
              ::testing::UnorderedElementsAre(
                  HasSubstr(paths_.user + ":1:7: mtu '99': must be a number from 1280 to 65535"),
                  HasSubstr(paths_.user + ":2:21: dns 'nowhere'"),
                  HasSubstr(paths_.user + ":3:13: mark-mask: --mark-capture and"),
                  HasSubstr(paths_.user + ":4:13: state-dir 'run': must be an absolute path")));
  write(paths_.user, "proxy-url = \"http://a@h:1\"\npassword-file = \"secret\"\n");
  EXPECT_THAT(check_config(paths_, std::nullopt).mistakes,
              ElementsAre(HasSubstr(":2:17: password-file 'secret': must be an absolute path")));
}

TEST_F(Sourced, AFileThatOthersMayWriteIsRefused) {
  for (const mode_t mode : {mode_t{0602}, mode_t{0666}}) {
    write(paths_.user, "mtu = 1400\n", mode);
    const auto text = read_config_text(paths_.user);
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code, Code::Permission);
    EXPECT_THAT(text.error().message, HasSubstr("chmod go-w " + paths_.user));
  }
  write(paths_.user, "", 0600);
  ASSERT_TRUE(read_config_text(paths_.user));
  ::chmod(directory_.c_str(), 0777);
  EXPECT_THAT(read_config_text(paths_.user).error().message, HasSubstr("chmod go-w " + directory_));
  ::chmod(directory_.c_str(), 0700);
  if (::geteuid() != 0) return;
  ASSERT_EQ(::chown(paths_.user.c_str(), 12345, 0), 0);
  EXPECT_THAT(read_config_text(paths_.user).error().message, HasSubstr("belongs to user 12345"));
}

TEST_F(Sourced, WhatIsNoFileIsRefusedAtOnce) {
  EXPECT_EQ(read_config_text(directory_ + "/none").error().code, Code::NotFound);
  EXPECT_EQ(read_config_text(directory_ + "/none/deeper").error().code, Code::NotFound);
  EXPECT_THAT(read_config_text(directory_).error().message, HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo(paths_.user.c_str(), 0600), 0);
  EXPECT_THAT(read_config_text(paths_.user).error().message, HasSubstr("not a regular file"));
  EXPECT_THAT(read_config_text("/dev/zero").error().message, HasSubstr("not a regular file"));
  EXPECT_TRUE(read_config_text("/dev/null"));
  write(paths_.system, std::string(kLargestConfigFile + 1, '#'));
  EXPECT_THAT(read_config_text(paths_.system).error().message, HasSubstr("64 KiB"));
}

TEST_F(Sourced, AFileThatThisUserMayNotReadIsAWarningUnlessItIsGiven) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  write(paths_.system, "mtu = 1400\n", 0);
  const auto loaded = load_config_files(paths_, std::nullopt);
  EXPECT_THAT(loaded.mistakes, IsEmpty());
  EXPECT_THAT(loaded.warnings, ElementsAre(HasSubstr("does not count")));
  EXPECT_EQ(load_config_files(paths_, paths_.system).mistakes.size(), 1u);
}

TEST_F(Sourced, APasswordThatEverybodyCanReadIsAWarning) {
  const auto warnings = [&](const std::string& text, mode_t mode) {
    write(paths_.user, text, mode);
    return load_config_files(paths_, std::nullopt).warnings;
  };
  EXPECT_THAT(warnings("password = \"x\"\n", 0644), ElementsAre(HasSubstr("chmod o-rwx")));
  EXPECT_THAT(warnings("proxy-url = \"http://a:b@h:1\"\n", 0644), ElementsAre(HasSubstr("chmod")));
  EXPECT_THAT(warnings("password = \"x\"\n", 0640), IsEmpty());
  EXPECT_THAT(warnings("proxy-url = \"http://a@h:1\"\n", 0644), IsEmpty());
}

TEST_F(Sourced, TheFileThatIsGivenIsTheOnlyOneAndMustBeThere) {
  write(paths_.user, "mtu = 1401\n");
  write(directory_ + "/other.toml", "workers = 3\n");
  const auto loaded = load_config_files(paths_, directory_ + "/other.toml");
  ASSERT_EQ(loaded.files.size(), 1u);
  EXPECT_EQ(loaded.files[0].path, directory_ + "/other.toml");
  EXPECT_EQ(load_config_files(paths_, directory_ + "/none").mistakes.size(), 1u);
  EXPECT_THAT(load_config_files(paths_, "/dev/null").mistakes, IsEmpty());
  EXPECT_THAT(load_config_files({directory_ + "/none", ""}, std::nullopt).files, IsEmpty());
}

TEST_F(Sourced, ABrokenFileIsNotInTheWayOfDown) {
  write(paths_.user, "tun-name = \"vpn7\"\nstate-dir = \"/run/other\"\n");
  DownFlags flags;
  flags.paths = paths_;
  auto good = to_config(flags);
  ASSERT_TRUE(good);
  EXPECT_EQ(good->config.tun_name, "vpn7");
  EXPECT_EQ(good->config.state_dir, "/run/other");
  write(paths_.user, "tun-name = \"vpn7\"\nstate-dir = 7\n[x\n");
  auto broken = to_config(flags);
  ASSERT_TRUE(broken);
  EXPECT_EQ(broken->config.tun_name, "tun0");
  EXPECT_THAT(broken->warnings, ElementsAre(HasSubstr("going on without it")));
  write(paths_.user, "tun-name = \"a-name-that-is-too-long\"\nstate-dir = \"/run/other\"\n");
  broken = to_config(flags);
  ASSERT_TRUE(broken);
  EXPECT_THAT(broken->warnings, ElementsAre(HasSubstr(":1:12: tun-name")));
}

}  // namespace
}  // namespace proxyvpn::app
