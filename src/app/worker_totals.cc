#include "app/worker_totals.h"

#include <array>

namespace proxyvpn::app {
namespace {

struct Counter {
  std::uint64_t WorkerTotals::*sum;
  std::atomic<std::uint64_t> WorkerStats::*of_worker;
  bool of_now = false;  // open or held: counts only of a worker that lives
};
constexpr std::array<Counter, 13> kCounters{{
    {&WorkerTotals::flows_open, &WorkerStats::flows_open, true},
    {&WorkerTotals::flows_total, &WorkerStats::flows_total},
    {&WorkerTotals::refused_by_proxy, &WorkerStats::refused_by_proxy},
    {&WorkerTotals::refused_proxy_lost, &WorkerStats::refused_proxy_lost},
    {&WorkerTotals::refused_limit, &WorkerStats::refused_limit},
    {&WorkerTotals::timeouts, &WorkerStats::timeouts},
    {&WorkerTotals::resets, &WorkerStats::resets},
    {&WorkerTotals::bytes_up, &WorkerStats::bytes_up},
    {&WorkerTotals::bytes_down, &WorkerStats::bytes_down},
    {&WorkerTotals::packets_in, &WorkerStats::packets_in},
    {&WorkerTotals::packets_out, &WorkerStats::packets_out},
    {&WorkerTotals::packets_bad, &WorkerStats::packets_bad},
    {&WorkerTotals::buffer_bytes, &WorkerStats::buffer_bytes, true},
}};
static_assert(sizeof(WorkerTotals) == kCounters.size() * sizeof(std::uint64_t),
              "each of the totals has its row");

}  // namespace

void WorkerTotals::add(const WorkerStats& stats, bool alive) noexcept {
  for (const Counter& counter : kCounters) {
    if (counter.of_now && !alive) continue;
    this->*counter.sum += (stats.*counter.of_worker).load(std::memory_order_relaxed);
  }
}

void WorkerTotals::add(const WorkerTotals& other) noexcept {
  for (const Counter& counter : kCounters) this->*counter.sum += other.*counter.sum;
}

}  // namespace proxyvpn::app
