#pragma once
// What each of the flows that upload at the same moment may have on its way. A device has one queue
// for all of them: what stands in it stands before the packets of every other connection.
#include <algorithm>
#include <cstdint>

#include "base/clock.h"

namespace proxyvpn::stack {

class UploadShare {
 public:
  static constexpr Duration kPeriod = std::chrono::milliseconds{50};
  // Bytes in a period that make a flow one that uploads: a request is not an upload.
  static constexpr std::uint32_t kCounts = 16 * 1024;

  // A flow's part of it; a flow that has none yet begins with {}.
  struct Member {
    std::uint32_t period = 0;
    std::uint32_t bytes = 0;  // in that period
  };

  // `bytes`: windows of all flows that upload, together.
  explicit UploadShare(std::uint32_t bytes) noexcept : bytes_(bytes) {}

  // `n` bytes of a flow went on. O(1), however many flows there are.
  void count(Member& member, std::size_t n, TimePoint now) noexcept {
    advance(now);
    if (member.period != period_) member = {period_, 0};
    const bool counted = member.bytes >= kCounts;
    member.bytes += static_cast<std::uint32_t>(std::min<std::size_t>(n, kCounts));
    if (!counted && member.bytes >= kCounts) ++now_;
  }
  // Bytes for each of them: in this period or in the one before, whichever saw more.
  [[nodiscard]] std::uint32_t each() const noexcept {
    return bytes_ / std::max({now_, before_, 1U});
  }

 private:
  void advance(TimePoint now) noexcept {
    const auto passed = now - began_;
    if (passed < kPeriod) return;
    before_ = passed < 2 * kPeriod ? now_ : 0;
    now_ = 0;
    began_ = now;
    ++period_;
  }

  std::uint32_t bytes_;
  std::uint32_t period_ = 0;
  std::uint32_t now_ = 0;     // flows that upload in this period
  std::uint32_t before_ = 0;  // and in the one before
  TimePoint began_{};
};

}  // namespace proxyvpn::stack
