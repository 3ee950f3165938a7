#pragma once
// The one place that waits: epoll(7), timers, and the clock that is read once per turn.
//
// Single-threaded. Handlers are told "ready" and never called again after remove(), also not for
// events that the kernel had already reported in the same turn.
#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "event/timer_queue.h"

namespace proxyvpn::event {

class Handler {
 public:
  virtual ~Handler() = default;
  // `events`: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLERR, EPOLLHUP as epoll_ctl(2) defines them.
  virtual void on_event(std::uint32_t events) noexcept = 0;
};

// A Handler made of a function, for what is not on the data path.
class FunctionHandler final : public Handler {
 public:
  explicit FunctionHandler(std::function<void(std::uint32_t)> function)
      : function_(std::move(function)) {}
  void on_event(std::uint32_t events) noexcept override { function_(events); }

 private:
  std::function<void(std::uint32_t)> function_;
};

class Reactor {
 public:
  static Result<Reactor> open();

  // `handler` is not owned and must live until remove(). False: errno tells (EMFILE, ENOSPC, ...).
  bool add(int fd, std::uint32_t events, Handler& handler) noexcept;
  bool modify(int fd, std::uint32_t events, Handler& handler) noexcept;
  // To be called before the descriptor is closed.
  void remove(int fd, const Handler& handler) noexcept;

  // The time at which this turn began.
  [[nodiscard]] TimePoint now() const noexcept { return now_; }
  TimerQueue& timers() noexcept { return timers_; }

  // Work that is left over for the next turn: while set, the next turn does not wait.
  void hurry() noexcept { hurry_ = true; }
  // Called once at the end of every turn, after all handlers and timers.
  void set_end_of_turn(std::function<void()> function) { end_of_turn_ = std::move(function); }

  // One turn: waits for an event, a timer or `at_most`, then calls the handlers.
  // False when epoll_wait(2) failed for another reason than a signal.
  bool turn(Duration at_most = Duration::max()) noexcept;
  // Turns until stop().
  bool run() noexcept;
  void stop() noexcept { stopped_ = true; }

 private:
  explicit Reactor(UniqueFd epoll);
  [[nodiscard]] int wait_milliseconds(Duration at_most) const noexcept;

  static constexpr std::size_t kBatch = 128;
  UniqueFd epoll_;
  TimePoint now_{};
  TimerQueue timers_;
  std::function<void()> end_of_turn_;
  std::vector<epoll_event> batch_;
  std::size_t next_ = 0;   // index of the first event of the batch that was not handed out yet
  std::size_t count_ = 0;  // events in the batch
  bool hurry_ = false;
  bool stopped_ = false;
};

}  // namespace proxyvpn::event
