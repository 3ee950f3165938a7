#include "app/control_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace proxyvpn::app {
namespace {

using State = RequestReader::State;

TEST(RequestReader, KnowsItsVerbs) {
  for (const Request request :
       {Request{Verb::Ping}, Request{Verb::Status}, Request{Verb::Counters}, Request{Verb::Down},
        Request{Verb::Flows}, Request{Verb::KillFlow, (std::uint64_t{3} << 40) + 1245}}) {
    RequestReader reader;
    EXPECT_EQ(State::Complete, reader.feed(request_line(request)));
    EXPECT_EQ(request, reader.request());
  }
  EXPECT_EQ("kill-flow 3.1245\n", request_line({Verb::KillFlow, (std::uint64_t{3} << 40) + 1245}));
}

TEST(RequestReader, TakesARequestInPieces) {
  RequestReader reader;
  EXPECT_EQ(State::NeedMore, reader.feed("do"));
  EXPECT_EQ(State::NeedMore, reader.feed(""));
  EXPECT_EQ(State::NeedMore, reader.feed("wn"));
  EXPECT_EQ(State::Complete, reader.feed("\n"));
  EXPECT_EQ(Verb::Down, reader.request().verb);
}

TEST(RequestReader, RefusesEverythingElse) {
  for (const std::string text :
       {"\n", "up\n", "DOWN\n", "down \n", " down\n", "down\r\n", "down\ndown\n", "ping\nx",
        "status\t\n", "status 1.1\n", "kill-flow\n", "kill-flow \n", "kill-flow 1\n",
        "kill-flow 1.1 \n", "\x7f\n", "\xc3\xa9\n"}) {
    RequestReader reader;
    EXPECT_EQ(State::Invalid, reader.feed(text)) << text;
    EXPECT_STRNE("", reader.problem());
    EXPECT_EQ(State::Invalid, reader.feed("down\n"));
  }
  RequestReader zero;
  EXPECT_EQ(State::Invalid, zero.feed(std::string_view("down\0\n", 6)));
}

TEST(RequestReader, IsBounded) {
  RequestReader reader;
  EXPECT_EQ(State::NeedMore, reader.feed(std::string(kMaxRequest - 1, 'a')));
  EXPECT_EQ(State::Invalid, reader.feed("a"));
}

TEST(RequestReader, RefusesBytesAfterARequest) {
  RequestReader reader;
  EXPECT_EQ(State::Complete, reader.feed("ping\n"));
  EXPECT_EQ(State::Complete, reader.feed(""));
  EXPECT_EQ(State::Invalid, reader.feed("p"));
}

TEST(Reply, SurvivesTheWay) {
  const Fields fields = {{"state", "Up"}, {"proxy", "192.0.2.10:8080 (a b)"}, {"empty", ""}};
  const auto reply = parse_reply(ok_reply(fields));
  ASSERT_TRUE(reply.has_value());
  EXPECT_TRUE(reply->ok);
  EXPECT_EQ(fields, reply->fields);
}

TEST(Reply, CannotBeSplitByAValue) {
  EXPECT_EQ("ok\nproxy_x a?done?b\n", ok_reply({{"proxy x",
                                                 "a\ndone\x1b"
                                                 "b"}}));
  EXPECT_EQ("error: no?way\n", error_reply("no\nway"));
  // Found by fuzzing: a field without a value must not read as an error.
  const auto reply = parse_reply(ok_reply({{"error:", ""}}));
  ASSERT_TRUE(reply.has_value());
  EXPECT_TRUE(reply->ok);
}

TEST(Reply, TellsAnErrorAlsoBehindAnOk) {
  const auto late = parse_reply("ok\nerror: the table is still there\n");
  ASSERT_TRUE(late.has_value());
  EXPECT_FALSE(late->ok);
  EXPECT_EQ("the table is still there", late->problem);
}

TEST(Reply, OfSomethingElseIsAnError) {
  for (const std::string text : {"", "ok", "yes\n", "ok\n value\n", "ok\n\n", "HTTP/1.1 200\n"}) {
    EXPECT_FALSE(parse_reply(text).has_value()) << text;
  }
  EXPECT_FALSE(parse_reply("ok\n" + std::string(kMaxReply, 'a')).has_value());
}

}  // namespace
}  // namespace proxyvpn::app
