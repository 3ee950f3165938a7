#pragma once
// Timers ordered by deadline: a binary heap of intrusive nodes, O(log n) to arm and cancel.
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "base/clock.h"

namespace proxyvpn::event {

class TimerQueue;

// One timer. Destroying it cancels it. Must not move while armed.
class Timer {
 public:
  explicit Timer(std::function<void()> callback) : callback_(std::move(callback)) {}
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Fires once at or after `deadline`; arming again moves it.
  void arm(TimerQueue& queue, TimePoint deadline);
  void cancel() noexcept;
  [[nodiscard]] bool armed() const noexcept { return queue_ != nullptr; }

 private:
  friend class TimerQueue;
  std::function<void()> callback_;
  TimerQueue* queue_ = nullptr;
  TimePoint deadline_{};
  std::size_t index_ = 0;
};

class TimerQueue {
 public:
  [[nodiscard]] std::optional<TimePoint> next_deadline() const noexcept;
  // Fires everything that is due. A timer armed by a callback for the past fires at the next call.
  void fire(TimePoint now);
  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }
  // The time of this turn: set by the reactor when it wakes, by a test as it likes.
  void set_now(TimePoint now) noexcept { now_ = now; }
  [[nodiscard]] TimePoint now() const noexcept { return now_; }

 private:
  friend class Timer;
  void insert(Timer& timer);
  void erase(Timer& timer) noexcept;
  void place(std::size_t index, Timer* timer) noexcept;
  void up(std::size_t index) noexcept;
  void down(std::size_t index) noexcept;
  std::vector<Timer*> heap_;
  TimePoint now_{};
};

}  // namespace proxyvpn::event
