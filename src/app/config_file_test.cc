#include "app/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace proxyvpn::app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const FileValue* find(const ConfigFile& file, std::string_view name) {
  for (const auto& value : file.values) {
    if (value.row->name == name) return &value;
  }
  return nullptr;
}

TEST(ConfigFile, TextsNumbersListsAndSwitchesAreWhatWouldBeTyped) {
  const auto file = parse_config_file(
      "proxy-url = \"http://192.0.2.1:8080\"\n"
      "mtu = 1400\n"
      "connect-timeout = 2.5\n"
      "mark-mask = 0x30\n"
      "dns = [\"192.0.2.53\", \"192.0.2.54\"]\n"
      "exclude = \"10.0.0.0/8\"\n"
      "exempt-user = [\"squid\", 1000]\n"
      "allow-lan = true\n"
      "egress-guard = false\n",
      "/etc/c.toml");
  EXPECT_THAT(file.mistakes, IsEmpty());
  const auto values = [&](const char* name) { return find(file, name)->values; };
  EXPECT_THAT(values("proxy-url"), ElementsAre("http://192.0.2.1:8080"));
  EXPECT_THAT(values("mtu"), ElementsAre("1400"));
  EXPECT_THAT(values("connect-timeout"), ElementsAre("2.5"));
  EXPECT_THAT(values("mark-mask"), ElementsAre("48"));
  EXPECT_THAT(values("dns"), ElementsAre("192.0.2.53", "192.0.2.54"));
  EXPECT_THAT(values("exclude"), ElementsAre("10.0.0.0/8"));
  EXPECT_THAT(values("exempt-user"), ElementsAre("squid", "1000"));
  EXPECT_THAT(values("allow-lan"), ElementsAre("true"));
  EXPECT_THAT(values("egress-guard"), ElementsAre("false"));
}

TEST(ConfigFile, EachValueOfAListHasAPlaceOfItsOwn) {
  const auto file = parse_config_file("\ndns = [\n  \"192.0.2.53\",\n  \"x\" ]\n", "/c");
  ASSERT_NE(find(file, "dns"), nullptr);
  EXPECT_THAT(find(file, "dns")->labels, ElementsAre("/c:3:3: dns", "/c:4:3: dns"));
  EXPECT_EQ(find(file, "dns")->source, "/c:2");
}

TEST(ConfigFile, EveryOptionOfUpButConfigCanBeAKey) {
  for (const auto& row : option_rows()) {
    const std::string value = row.is_switch() ? "true" : "\"1\"";
    const auto file = parse_config_file(std::string(row.name) + " = " + value, "/c");
    if (std::string_view(row.name) == "config") {
      EXPECT_THAT(file.mistakes, ElementsAre(HasSubstr("for the command line only")));
    } else {
      EXPECT_THAT(file.mistakes, IsEmpty()) << row.name;
      EXPECT_EQ(file.values.size(), 1u) << row.name;
    }
  }
}

TEST(ConfigFile, EveryMistakeIsToldWithItsPlace) {
  const auto file = parse_config_file(
      "mtuu = 1\n"
      "proxy_url = \"x\"\n"
      "killswitch = true\n"
      "allow-lan = \"yes\"\n"
      "tun-name = [\"a\"]\n"
      "dns = [true]\n"
      "state-dir = 2026-01-01\n"
      "username = \"a\\nb\"\n"
      "zzzzzzzzz = 1\n"
      "[network]\n"
      "mtu = 1400\n",
      "/c");
  EXPECT_THAT(
      file.mistakes,
      ::testing::UnorderedElementsAre(
          "/c:1:1: there is no key 'mtuu'; did you mean 'mtu'?",
          "/c:2:1: there is no key 'proxy_url'; did you mean 'proxy-url'?",
          "/c:3:1: there is no key 'killswitch'; did you mean 'no-killswitch'?",
          HasSubstr("/c:4:13: allow-lan: here stands a text; it must be true or false"),
          HasSubstr(
              "/c:5:12: tun-name: here stands a list; it must be a text in quotes or a number"),
          HasSubstr("/c:6:8: dns: here stands true or false; it must be a list of texts"),
          HasSubstr("/c:7:13: state-dir: here stands a date or time"),
          HasSubstr("/c:8:12: username: the text has a control character"),
          HasSubstr("/c:9:1: there is no key 'zzzzzzzzz'; `man proxyvpn.toml`"),
          HasSubstr("/c:10:2: there is no key 'network': keys stand alone, without sections")));
}

TEST(ConfigFile, WhatIsNoTomlIsToldWithItsPlaceAndWithoutSecrets) {
  const auto text = parse_config_file("mtu = 1400\nallow-lan = yes\n", "/c");
  ASSERT_EQ(text.mistakes.size(), 1u);
  EXPECT_THAT(text.mistakes[0], HasSubstr("/c:2:"));
  EXPECT_THAT(text.mistakes[0], HasSubstr("is not TOML"));
  for (const char* line :
       {"password = hunter2", "password = \"hunter2", "proxy-url = http://a:hunter2@h:1",
        "password = [\"hunter2\"]", "password = hunter2hunter2 # x", "password hunter2"}) {
    const auto file = parse_config_file(line, "/c");
    ASSERT_FALSE(file.mistakes.empty()) << line;
    for (const auto& mistake : file.mistakes) EXPECT_THAT(mistake, Not(HasSubstr("hunter2")));
  }
}

TEST(ConfigFile, NoMistakeBringsControlCharactersToATerminal) {
  for (const char* text : {"dns = [t\x0b]\n", "\"\\u001b[2J\" = 1\n", "mtu = \x1b[31m\n"}) {
    const auto file = parse_config_file(text, "/c");
    ASSERT_FALSE(file.mistakes.empty()) << text;
    for (const auto& mistake : file.mistakes) {
      for (const char c : mistake) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << mistake;
    }
  }
}

TEST(ConfigFile, LettersBeyondAsciiAreFineInCommentsAndTextsButNotInKeys) {
  for (const char* letter :
       {"\u00e9", "\u028a", "\u0416", "\u1690", "\u2042", "\u6f22", "\U0001f600"}) {
    const std::string text = std::string("# caf") + letter + "\ndns = \"" + letter + "\"\n";
    const auto file = parse_config_file(text, "/c");
    EXPECT_THAT(file.mistakes, IsEmpty()) << letter;
    ASSERT_NE(nullptr, find(file, "dns")) << letter;
    EXPECT_THAT(find(file, "dns")->values, ElementsAre(letter));
    EXPECT_FALSE(
        parse_config_file(std::string("mtu") + letter + " = 1400\n", "/c").mistakes.empty());
  }
}

TEST(ConfigFile, NothingIsFine) {
  EXPECT_THAT(parse_config_file("", "/c").mistakes, IsEmpty());
  EXPECT_THAT(parse_config_file("# only words\n", "/c").values, IsEmpty());
}

}  // namespace
}  // namespace proxyvpn::app
