#pragma once
// The counters of several workers, dead ones included, added up.
#include <cstdint>

#include "app/worker_stats.h"

namespace proxyvpn::app {

struct WorkerTotals {
  std::uint64_t flows_open = 0;
  std::uint64_t flows_total = 0;
  std::uint64_t refused_by_proxy = 0;
  std::uint64_t refused_proxy_lost = 0;
  std::uint64_t refused_limit = 0;
  std::uint64_t timeouts = 0;
  std::uint64_t resets = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::uint64_t packets_in = 0;
  std::uint64_t packets_out = 0;
  std::uint64_t packets_bad = 0;
  std::uint64_t buffer_bytes = 0;
  // What is open or held counts only of a worker that lives.
  void add(const WorkerStats& stats, bool alive) noexcept;
  void add(const WorkerTotals& other) noexcept;
  friend bool operator==(const WorkerTotals&, const WorkerTotals&) = default;
};

}  // namespace proxyvpn::app
