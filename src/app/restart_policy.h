#pragma once
// When a dead worker is followed by another, and when a living one counts as hung. Pure: told the
// time, never asks.
#include <algorithm>

#include "base/clock.h"

namespace proxyvpn::app {

// What a start is given: time until the first worker runs, and its deaths in a row.
inline constexpr seconds kReadyTime{10};
inline constexpr unsigned kStartAttempts = 3;

// The first death is answered at once; a worker that dies again and again is given 100 ms, 200 ms,
// ... at most 5 s, so that a fault that comes back at once can't eat the machine.
class RestartPolicy {
 public:
  static constexpr milliseconds kFirstDelay{100};
  static constexpr milliseconds kLongestDelay{5000};
  static constexpr seconds kGoodLife{10};  // a worker that lived so long starts with a clean slate

  // How long to wait until the next start, after one that lived for `lived`.
  Duration after_death(Duration lived) noexcept {
    if (lived >= kGoodLife) deaths_ = 0;
    const unsigned before = deaths_;
    deaths_ = std::min(deaths_ + 1, 16u);
    if (before == 0) return Duration::zero();
    return std::min<Duration>(kFirstDelay * (1u << (before - 1)), kLongestDelay);
  }
  // Deaths in a row, the last one included.
  [[nodiscard]] unsigned deaths() const noexcept { return deaths_; }

 private:
  unsigned deaths_ = 0;
};

// Counts our own ticks (one a second) since the last sign of life. Ticks instead of a clock: when
// the whole machine or both processes were frozen, no tick was missed either.
class BeatWatch {
 public:
  static constexpr unsigned kPatience = 10;
  void beat() noexcept { silent_ = 0; }
  // True: hung.
  bool tick() noexcept { return ++silent_ > kPatience; }

 private:
  unsigned silent_ = 0;
};

}  // namespace proxyvpn::app
