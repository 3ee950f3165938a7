#include "app/log_render.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/early_log.h"

namespace proxyvpn::app {
namespace {

const log::Record kRecord{log::Level::Warning,
                          1'700'000'000'012'345,
                          42,
                          "proxy lost",
                          {{"to", "a \"b\""}, {"sys-errno", "111"}}};

TEST(LogRender, JsonHasTimeLevelMessageAndFields) {
  const auto line = json_line(kRecord);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto parsed = nlohmann::json::parse(line);
  EXPECT_EQ(parsed["time"], "2023-11-14T22:13:20.012345Z");
  EXPECT_EQ(parsed["level"], "warning");
  EXPECT_EQ(parsed["pid"], 42);
  EXPECT_EQ(parsed["message"], "proxy lost");
  EXPECT_EQ(parsed["fields"]["to"], "a \"b\"");
  EXPECT_EQ(parsed["fields"]["sys-errno"], "111");
  const auto broken = json_line({log::Level::Info, 0, 1, "bad \xff byte", {}});
  EXPECT_TRUE(nlohmann::json::accept(broken));
}

TEST(LogRender, TheJournalGetsFields) {
  EXPECT_EQ(journal_datagram(kRecord),
            "MESSAGE=proxy lost to=\"a \\\"b\\\"\" sys-errno=111\n"
            "PRIORITY=4\nSYSLOG_IDENTIFIER=proxyvpn\nSYSLOG_PID=42\n"
            "PROXYVPN_EVENT=proxy lost\nPROXYVPN_TO=a \"b\"\nPROXYVPN_SYS_ERRNO=111\n");
}

TEST(LogRender, TheStyleFollowsWhereStderrLeads) {
  const LogSurroundings terminal{.terminal = true};
  EXPECT_TRUE(decide_style(LogFormat::Auto, terminal).colour);
  EXPECT_EQ(decide_style(LogFormat::Auto, terminal).format, LogFormat::Text);
  EXPECT_FALSE(decide_style(LogFormat::Auto, {.terminal = true, .no_color = true}).colour);
  EXPECT_FALSE(decide_style(LogFormat::Auto, {.terminal = true, .dumb = true}).colour);
  EXPECT_FALSE(decide_style(LogFormat::Auto, {}).colour);
  EXPECT_TRUE(decide_style(LogFormat::Auto, {.terminal = true, .no_color = true}).progress);
  EXPECT_FALSE(decide_style(LogFormat::Auto, {.terminal = true, .dumb = true}).progress);
  EXPECT_FALSE(decide_style(LogFormat::Json, terminal).progress);
  EXPECT_FALSE(decide_style(LogFormat::Auto, {}).progress);
  EXPECT_EQ(decide_style(LogFormat::Auto, {.journal = true}).format, LogFormat::Journal);
  EXPECT_EQ(decide_style(LogFormat::Text, {.journal = true}).format, LogFormat::Text);
  EXPECT_EQ(decide_style(LogFormat::Json, terminal).format, LogFormat::Json);
}

TEST(EarlyLog, HasTheFormOfTheLogAndFitsIntoAPipeAsAWhole) {
  const EarlyLog json(LogFormat::Json);
  EXPECT_FALSE(json.is_text());
  const auto parsed =
      nlohmann::json::parse(json.line(log::Level::Warning, "two\nlines of \"words\""));
  EXPECT_EQ(parsed["level"], "warning");
  EXPECT_EQ(parsed["message"], "two\\x0alines of \"words\"");
  EXPECT_TRUE(parsed["fields"].empty());
  for (const char c : {'a', '"', '\\', '\x01', '\xff'}) {
    EXPECT_LT(json.line(log::Level::Error, std::string(5000, c)).size(), 4000u) << int{c};
  }
  const EarlyLog text(LogFormat::Text);
  EXPECT_TRUE(text.is_text());
  EXPECT_NE(text.line(log::Level::Error, "it is \x1b[31mred").find("it is \\x1b[31mred"),
            std::string::npos);
}

}  // namespace
}  // namespace proxyvpn::app
