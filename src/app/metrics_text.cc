#include "app/metrics_text.h"

#include <prometheus/text_serializer.h>

#include <array>
#include <sstream>
#include <utility>
#include <vector>

namespace proxyvpn::app {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr std::array kStates = {RunState::Starting,   RunState::Up,       RunState::ProxyLost,
                                RunState::WorkerLost, RunState::Stopping, RunState::Crashed,
                                RunState::Locked,     RunState::Down,     RunState::Unknown};

// Families in the order in which they are told, each with its samples.
class Page {
 public:
  void gauge(const char* name, const char* help) { open(name, help, MetricType::Gauge); }
  void counter(const char* name, const char* help) { open(name, help, MetricType::Counter); }
  // A sample of the family that was opened last.
  void sample(std::uint64_t value, const char* label = nullptr, std::string_view is = {}) {
    ClientMetric metric;
    if (label != nullptr) metric.label = {{label, std::string(is)}};
    metric.gauge.value = metric.counter.value = static_cast<double>(value);
    families_.back().metric.push_back(std::move(metric));
  }
  [[nodiscard]] std::string text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families_);
    return out.str();
  }

 private:
  void open(const char* name, const char* help, MetricType type) {
    MetricFamily family;
    family.name = std::string("proxyvpn_") + name;
    family.help = help;
    family.type = type;
    families_.push_back(std::move(family));
  }
  std::vector<MetricFamily> families_;
};

void tell_state(Page& page, const Status& status) {
  page.gauge("up", "1 while traffic goes through the proxy.");
  page.sample(status.state == RunState::Up ? 1 : 0);
  page.gauge("shut", "1 while nothing goes out, neither through the proxy nor beside it.");
  page.sample(is_shut(status) ? 1 : 0);
  page.gauge("state", "1 for the state that the machine is in, 0 for the others.");
  for (const RunState state : kStates) {
    page.sample(state == status.state ? 1 : 0, "state", id_of(state));
  }
}

void tell_flows(Page& page, const WorkerTotals& totals) {
  page.gauge("flows_open", "TCP connections of applications that are open now.");
  page.sample(totals.flows_open);
  page.counter("flows_total", "TCP connections that applications began.");
  page.sample(totals.flows_total);
  page.counter("flows_failed_total", "TCP connections that failed, by reason.");
  page.sample(totals.refused_by_proxy, "reason", "refused_by_proxy");
  page.sample(totals.refused_proxy_lost, "reason", "proxy_lost");
  page.sample(totals.timeouts, "reason", "timed_out");
  page.sample(totals.refused_limit, "reason", "limit");
  page.sample(totals.resets, "reason", "reset");
  page.counter("bytes_total", "Bytes of applications that went through the proxy.");
  page.sample(totals.bytes_up, "direction", "up");
  page.sample(totals.bytes_down, "direction", "down");
  page.counter("packets_total", "Packets through the TUN device; bad ones were dropped.");
  page.sample(totals.packets_in, "kind", "in");
  page.sample(totals.packets_out, "kind", "out");
  page.sample(totals.packets_bad, "kind", "bad");
}

void tell_killswitch(Page& page, const Status& status) {
  page.gauge("killswitch", "1 while the killswitch is in force.");
  page.sample(status.killswitch ? 1 : 0);
  if (status.refused.empty()) return;
  page.counter("killswitch_refused_packets_total", "Packets that the killswitch refused.");
  for (const auto& counter : status.refused) page.sample(counter.packets, "reason", counter.reason);
  page.counter("killswitch_refused_bytes_total", "Bytes that the killswitch refused.");
  for (const auto& counter : status.refused) page.sample(counter.bytes, "reason", counter.reason);
}

void tell_processes(Page& page, const Status& status) {
  page.gauge("start_time_seconds", "When the daemon was started, in seconds since 1970.");
  page.sample(static_cast<std::uint64_t>(status.started < 0 ? 0 : status.started));
  page.gauge("workers", "Worker processes.");
  page.sample(status.workers, "kind", "running");
  page.sample(status.workers_wanted, "kind", "wanted");
  if (!status.worker_list.empty()) {
    page.gauge("worker_flows_open", "TCP connections that are open now, by worker.");
    for (const auto& worker : status.worker_list) {
      page.sample(worker.flows_open, "worker", std::to_string(worker.number));
    }
  }
  if (status.resident) {
    page.gauge("memory_resident_bytes", "Memory of all processes; what they share is in each.");
    page.sample(*status.resident);
  }
  page.gauge("memory_in_flight_bytes", "Bytes that are held for connections.");
  page.sample(status.totals.buffer_bytes);
  page.gauge("memory_budget_bytes", "Most bytes that a worker holds for connections.");
  page.sample(status.memory_budget);
  if (status.proxy_in_use) {
    page.gauge("proxy_in_use", "1 for the proxy's address that was connected to last.");
    page.sample(1, "address", to_string(*status.proxy_in_use));
  }
}

}  // namespace

Result<std::string> metrics_text(const Status& status) {
  Page page;
  tell_state(page, status);
  if (status.pid != 0) {
    tell_flows(page, status.totals);
    tell_killswitch(page, status);
    tell_processes(page, status);
  }
  return page.text();
}

}  // namespace proxyvpn::app
