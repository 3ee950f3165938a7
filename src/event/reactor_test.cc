#include "event/reactor.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <memory>

namespace proxyvpn::event {
namespace {

std::array<UniqueFd, 2> make_pipe() {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

TEST(Reactor, TellsTheHandlerThatItIsReady) {
  auto reactor = *Reactor::open();
  auto ends = make_pipe();
  std::uint32_t got = 0;
  FunctionHandler handler([&](std::uint32_t events) { got = events; });
  ASSERT_TRUE(reactor.add(ends[0].get(), EPOLLIN, handler));
  ASSERT_EQ(::write(ends[1].get(), "x", 1), 1);
  ASSERT_TRUE(reactor.turn());
  EXPECT_EQ(got, static_cast<std::uint32_t>(EPOLLIN));
}

TEST(Reactor, AHandlerRemovedInTheSameTurnIsNotCalled) {
  auto reactor = *Reactor::open();
  auto a = make_pipe();
  auto b = make_pipe();
  int calls = 0;
  std::unique_ptr<FunctionHandler> first;
  std::unique_ptr<FunctionHandler> second;
  const auto drop_other = [&](int own_fd, int other_fd, std::unique_ptr<FunctionHandler>& other) {
    return [&, own_fd, other_fd](std::uint32_t) {
      ++calls;
      (void)own_fd;
      if (other) reactor.remove(other_fd, *other);
    };
  };
  first = std::make_unique<FunctionHandler>(drop_other(a[0].get(), b[0].get(), second));
  second = std::make_unique<FunctionHandler>(drop_other(b[0].get(), a[0].get(), first));
  ASSERT_TRUE(reactor.add(a[0].get(), EPOLLIN, *first));
  ASSERT_TRUE(reactor.add(b[0].get(), EPOLLIN, *second));
  ASSERT_EQ(::write(a[1].get(), "x", 1), 1);
  ASSERT_EQ(::write(b[1].get(), "x", 1), 1);
  ASSERT_TRUE(reactor.turn());
  EXPECT_EQ(calls, 1);
}

TEST(Reactor, HurryMakesTheNextTurnNotWait) {
  auto reactor = *Reactor::open();
  int turns = 0;
  reactor.set_end_of_turn([&] {
    if (++turns < 3) reactor.hurry();
    if (turns == 3) reactor.stop();
  });
  reactor.hurry();
  EXPECT_TRUE(reactor.run());
  EXPECT_EQ(turns, 3);
}

TEST(TimerQueue, FiresInOrderOfDeadlines) {
  TimerQueue queue;
  std::vector<int> fired;
  const TimePoint t0{};
  std::vector<std::unique_ptr<Timer>> timers;
  for (const int ms : {50, 10, 40, 20, 30}) {
    timers.push_back(std::make_unique<Timer>([&fired, ms] { fired.push_back(ms); }));
    timers.back()->arm(queue, t0 + milliseconds(ms));
  }
  EXPECT_EQ(queue.next_deadline(), t0 + milliseconds(10));
  queue.fire(t0 + milliseconds(35));
  EXPECT_EQ(fired, (std::vector<int>{10, 20, 30}));
  queue.fire(t0 + milliseconds(50));
  EXPECT_EQ(fired, (std::vector<int>{10, 20, 30, 40, 50}));
  EXPECT_EQ(queue.size(), 0U);
}

TEST(TimerQueue, CancelledAndMovedTimersKeepTheHeapInOrder) {
  TimerQueue queue;
  std::vector<int> fired;
  const TimePoint t0{};
  std::vector<std::unique_ptr<Timer>> timers;
  for (int i = 0; i < 100; ++i) {
    timers.push_back(std::make_unique<Timer>([&fired, i] { fired.push_back(i); }));
    timers.back()->arm(queue, t0 + milliseconds((i * 37) % 100));
  }
  for (int i = 0; i < 100; i += 2) timers[static_cast<std::size_t>(i)]->cancel();
  for (int i = 1; i < 100; i += 4) timers[static_cast<std::size_t>(i)].reset();
  queue.fire(t0 + milliseconds(1000));
  ASSERT_EQ(fired.size(), 25U);
  for (std::size_t i = 1; i < fired.size(); ++i) {
    EXPECT_LE((fired[i - 1] * 37) % 100, (fired[i] * 37) % 100);
  }
}

TEST(TimerQueue, ATimerThatArmsItselfForThePastDoesNotSpin) {
  TimerQueue queue;
  int fired = 0;
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>([&] {
    ++fired;
    timer->arm(queue, TimePoint{});
  });
  timer->arm(queue, TimePoint{});
  queue.fire(TimePoint{} + milliseconds(1));
  EXPECT_EQ(fired, 1);
}

}  // namespace
}  // namespace proxyvpn::event
