#include "names/stream_port.h"

#include <gtest/gtest.h>

#include "testing/fake_flow.h"

namespace proxyvpn::names {
namespace {

struct Recorder final : stack::FlowAcceptor {
  void on_syn(stack::TcpFlow& /*flow*/) noexcept override { ++seen; }
  int seen = 0;
};

// Says the question again, at once or when told.
struct PatientEcho final : Answerer {
  void ask(std::span<const std::uint8_t> message, Transport transport, Done done) override {
    EXPECT_EQ(transport, Transport::Stream);
    question.assign(message.begin(), message.end());
    waiting = std::move(done);
    ++asked;
    if (at_once) answer();
  }
  void answer() {
    const auto done = std::exchange(waiting, nullptr);
    done(std::vector<std::uint8_t>(question.begin(), question.end()));
  }
  std::string question;
  Done waiting;
  bool at_once = true;
  int asked = 0;
};

stack::FlowKey key(const char* to) {
  return {*parse_endpoint("10.0.0.1:999"), *parse_endpoint(to)};
}

class StreamPortTest : public ::testing::Test {
 protected:
  event::Reactor reactor = *event::Reactor::open();
  Recorder next;
  PatientEcho echo;
  testing::FakeFlow flow{key("10.0.0.2:53")};
  std::list<testing::FakeFlow> more;
  StreamPort port{reactor, next, echo, {*IpAddress::parse("10.0.0.2")}};
};

const std::string kHello("\0\5hello", 7);

TEST_F(StreamPortTest, TakesItsOwnAndPassesOnTheRest) {
  port.on_syn(flow);
  EXPECT_TRUE(flow.accepted);
  for (const char* to : {"10.0.0.2:80", "10.0.0.3:53"}) {
    testing::FakeFlow other{key(to)};
    port.on_syn(other);
  }
  EXPECT_EQ(next.seen, 2);
  EXPECT_EQ(port.size(), 1U);
}

TEST_F(StreamPortTest, AnswersMessagesHoweverTheyAreCut) {
  port.on_syn(flow);
  for (const char byte : kHello) flow.app_sends(std::string(1, byte));
  EXPECT_EQ(flow.to_app, kHello);
  flow.app_sends(kHello + kHello + kHello.substr(0, 3));
  EXPECT_EQ(flow.to_app, kHello + kHello + kHello);
  flow.app_sends(kHello.substr(3));
  EXPECT_EQ(echo.asked, 4);
  flow.app_finishes();
  EXPECT_TRUE(flow.finished);
}

TEST_F(StreamPortTest, ThousandsInOnePieceTakeNoStack) {
  port.on_syn(flow);
  std::string all;
  for (int i = 0; i < 4'000; ++i) all += kHello;
  flow.app_sends(all);
  EXPECT_EQ(flow.to_app.size(), all.size());
}

TEST_F(StreamPortTest, OneQuestionAtATime) {
  echo.at_once = false;
  port.on_syn(flow);
  flow.app_sends(kHello + kHello);
  EXPECT_EQ(echo.asked, 1);
  EXPECT_EQ(flow.from_app, kHello);  // the second one stays where it is
  echo.answer();
  EXPECT_EQ(echo.asked, 2);
}

TEST_F(StreamPortTest, AnAnswerToNobodyIsDropped) {
  echo.at_once = false;
  port.on_syn(flow);
  flow.app_sends(kHello);
  flow.app_resets();
  port.end_of_turn();
  EXPECT_EQ(port.size(), 0U);
  echo.answer();
  EXPECT_TRUE(flow.to_app.empty());
}

TEST_F(StreamPortTest, WaitsForRoom) {
  flow.room = 3;
  port.on_syn(flow);
  flow.app_sends(kHello);
  EXPECT_EQ(flow.to_app, kHello.substr(0, 3));
  flow.room = 100;
  flow.handler->on_writable();
  EXPECT_EQ(flow.to_app, kHello);
}

TEST_F(StreamPortTest, ASilentClientIsCutOff) {
  port.on_syn(flow);
  reactor.timers().fire(reactor.now() + StreamPort::kIdleLimit);
  EXPECT_TRUE(flow.aborted);
  EXPECT_EQ(port.size(), 0U);
}

TEST_F(StreamPortTest, RefusesMoreThanItKeeps) {
  for (std::size_t i = 0; i <= StreamPort::kMost; ++i) {
    port.on_syn(more.emplace_back(key("10.0.0.2:53")));
  }
  EXPECT_EQ(more.back().refused, stack::Refusal::Refused);
  EXPECT_EQ(port.size(), StreamPort::kMost);
}

}  // namespace
}  // namespace proxyvpn::names
