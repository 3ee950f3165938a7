#pragma once
// Bytes and flows per second, of the last second and of the last minute. Pure: told the time.
#include <deque>
#include <optional>
#include <vector>

#include "app/status.h"
#include "app/worker_totals.h"
#include "base/clock.h"

namespace proxyvpn::app {

class RateMeter {
 public:
  static constexpr std::size_t kHistory = 60;

  // To be called about once a second. What goes backwards counts as nothing.
  void sample(TimePoint now, const WorkerTotals& totals);
  [[nodiscard]] Rates rates() const { return history_.empty() ? Rates{} : history_.back(); }
  // Oldest first.
  [[nodiscard]] std::vector<Rates> history() const { return {history_.begin(), history_.end()}; }

 private:
  struct Sample {
    TimePoint when;
    std::uint64_t up = 0;
    std::uint64_t down = 0;
    std::uint64_t flows = 0;
  };
  std::optional<Sample> last_;
  std::deque<Rates> history_;
};

// `amount` in `time`, per second; 0 for no time.
std::uint64_t per_second(std::uint64_t before, std::uint64_t after, Duration time) noexcept;

}  // namespace proxyvpn::app
