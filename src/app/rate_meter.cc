#include "app/rate_meter.h"

#include <cmath>

namespace proxyvpn::app {

std::uint64_t per_second(std::uint64_t before, std::uint64_t after, Duration time) noexcept {
  const double length = std::chrono::duration<double>(time).count();
  if (after <= before || length <= 0) return 0;
  return static_cast<std::uint64_t>(std::llround(static_cast<double>(after - before) / length));
}

void RateMeter::sample(TimePoint now, const WorkerTotals& totals) {
  const Sample next{now, totals.bytes_up, totals.bytes_down, totals.flows_total};
  if (last_ && now > last_->when) {
    const Duration time = now - last_->when;
    history_.push_back({per_second(last_->up, next.up, time),
                        per_second(last_->down, next.down, time),
                        per_second(last_->flows, next.flows, time)});
    if (history_.size() > kHistory) history_.pop_front();
  }
  last_ = next;
}

}  // namespace proxyvpn::app
