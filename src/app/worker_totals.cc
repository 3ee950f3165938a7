#include "app/worker_totals.h"

namespace proxyvpn::app {

void WorkerTotals::add(const WorkerStats& stats, bool alive) noexcept {
  const auto get = [](const std::atomic<std::uint64_t>& value) {
    return value.load(std::memory_order_relaxed);
  };
  if (alive) {
    flows_open += get(stats.flows_open);
    buffer_bytes += get(stats.buffer_bytes);
  }
  flows_total += get(stats.flows_total);
  refused_by_proxy += get(stats.refused_by_proxy);
  refused_proxy_lost += get(stats.refused_proxy_lost);
  refused_limit += get(stats.refused_limit);
  timeouts += get(stats.timeouts);
  resets += get(stats.resets);
  bytes_up += get(stats.bytes_up);
  bytes_down += get(stats.bytes_down);
  packets_in += get(stats.packets_in);
  packets_out += get(stats.packets_out);
  packets_bad += get(stats.packets_bad);
}

void WorkerTotals::add(const WorkerTotals& other) noexcept {
  flows_open += other.flows_open;
  flows_total += other.flows_total;
  refused_by_proxy += other.refused_by_proxy;
  refused_proxy_lost += other.refused_proxy_lost;
  refused_limit += other.refused_limit;
  timeouts += other.timeouts;
  resets += other.resets;
  bytes_up += other.bytes_up;
  bytes_down += other.bytes_down;
  packets_in += other.packets_in;
  packets_out += other.packets_out;
  packets_bad += other.packets_bad;
  buffer_bytes += other.buffer_bytes;
}

}  // namespace proxyvpn::app
