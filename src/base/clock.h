#pragma once
// Monotonic time. The reactor reads the clock once per turn; everybody else is told.
#include <chrono>

namespace proxyvpn {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC: stands still during suspend
using TimePoint = Clock::time_point;
using Duration = Clock::duration;
using std::chrono::milliseconds;
using std::chrono::seconds;

}  // namespace proxyvpn
