#include "base/log_record.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace proxyvpn::log {
namespace {

TEST(LogRecord, ComesBackAsItWasButForControlCharacters) {
  const Record record{
      Level::Warning, 1'700'000'000'123'456, 42, "proxy lost", {{"to", "a b\"c\\"}, {"empty", ""}}};
  EXPECT_EQ(decode(encode(record)), record);
  const Record wild{Level::Info, 1, 2, "x\x1e\x1fy", {{"k", "1\n2"}}};
  const auto line = encode(wild);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto back = decode(line);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->event, "x\\x1e\\x1fy");
  EXPECT_EQ(back->fields[0].second, "1\\x0a2");
}

TEST(LogRecord, ProgressIsNoLine) {
  Record record{Level::Info, 1, 2, "starting: workers", {}};
  record.progress = true;
  EXPECT_EQ(decode(encode(record)), record);
}

TEST(LogRecord, WhatIsTooLongIsCut) {
  const auto line = encode({Level::Info, 1, 2, "e", {{"k", std::string(5000, 'x')}}});
  EXPECT_EQ(line.size(), kLongestRecord);
  ASSERT_TRUE(decode(line));
  EXPECT_TRUE(decode(line)->fields[0].second.ends_with("..."));
}

TEST(LogRecord, OtherLinesAreNone) {
  for (const char* line : {"", "proxyvpn: text", "\x1e",
                           "\x1e"
                           "7\x1f"
                           "1\x1f"
                           "2\x1f"
                           "e",
                           "\x1e"
                           "1\x1fx\x1f"
                           "2\x1f"
                           "e"}) {
    EXPECT_FALSE(decode(line)) << line;
  }
}

TEST(LogRecord, ColoursStandAroundLevelAndKeysOnly) {
  const Record record{Level::Error, 1, 2, "it broke", {{"why", "a b"}}};
  EXPECT_EQ(text_line(record, false), "proxyvpn: error: it broke why=\"a b\"");
  EXPECT_EQ(text_line(record, true),
            "\x1b[2mproxyvpn:\x1b[0m \x1b[1;31merror:\x1b[0m it broke \x1b[2mwhy=\x1b[0m\"a b\"");
}

TEST(Log, ManyOfOneEventAreSuppressedAndCounted) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_NONBLOCK), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  set_record_output(writer.get());
  set_level(Level::Debug);
  for (unsigned i = 0; i < kBurst + 15; ++i) warning("the same", {{"number", i}});
  for (unsigned i = 0; i < kBurst + 15; ++i) debug("asked for");
  info("another");
  // 40 other events take the place of the first, which says what it left out.
  for (int i = 0; i < 40; ++i) info("event " + std::to_string(i));
  set_output(2);
  set_level(Level::Info);
  std::string text(1 << 16, '\0');
  const auto n = ::read(reader.get(), text.data(), text.size());
  ASSERT_GT(n, 0);
  text.resize(static_cast<std::size_t>(n));
  const auto count = [&](const std::string& word) {
    std::size_t found = 0;
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("\x1fthe same\x1f"
                  "number"),
            kBurst);
  EXPECT_EQ(count("asked for"), kBurst + 15);
  EXPECT_EQ(count("another"), 1u);
  EXPECT_EQ(count("15 more suppressed\x1f"
                  "event\x1fthe same"),
            1u);
}

}  // namespace
}  // namespace proxyvpn::log
