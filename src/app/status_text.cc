#include "app/status_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

namespace proxyvpn::app {
namespace {

template <class T>
std::string join(const std::vector<T>& items, const char* nothing) {
  std::string text;
  // Not `", " + to_string(item)`: linking it, g++ 12 warns of an overflow that cannot be.
  for (const auto& item : items) {
    if (!text.empty()) text += ", ";
    text += to_string(item);
  }
  return text.empty() ? nothing : text;
}

std::string local_time(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  char text[64] = {};
  if (!::localtime_r(&time, &parts) ||
      std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts) == 0) {
    return "?";
  }
  return text;
}

// A number with its words, unless it is none.
void add_reason(std::string& text, std::uint64_t count, const char* what) {
  if (count == 0) return;
  text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + what;
}

std::string flows_text(const WorkerTotals& totals) {
  return std::to_string(totals.flows_open) + " open, " + std::to_string(totals.flows_total) +
         " in all";
}

std::string failed_text(const WorkerTotals& totals) {
  std::string text;
  add_reason(text, totals.refused_by_proxy, "refused by the proxy");
  add_reason(text, totals.refused_proxy_lost, "while the proxy was lost");
  add_reason(text, totals.timeouts, "not answered in time");
  add_reason(text, totals.refused_limit, "put off at a limit");
  add_reason(text, totals.resets, "reset");
  return text.empty() ? "none" : text;
}

std::string refused_text(const Status& status) {
  const auto all = all_refused(status);
  if (all.packets == 0) return "nothing so far";
  std::string reasons;
  for (const auto& counter : status.refused) {
    if (counter.packets == 0) continue;
    reasons +=
        (reasons.empty() ? "" : ", ") + counter.reason + " " + std::to_string(counter.packets);
  }
  return counted(all.packets, "packet", "packets") + ", " + human_bytes(all.bytes) + " (" +
         reasons + ")";
}

std::string workers_text(const Status& status) {
  std::string text =
      std::to_string(status.workers) + " of " + std::to_string(status.workers_wanted);
  if (status.worker_list.size() < 2) return text;
  text += ", with ";
  for (const auto& worker : status.worker_list) {
    if (&worker != &status.worker_list.front()) text += " + ";
    text += std::to_string(worker.flows_open);
  }
  return text + " flows";
}

std::string memory_text(const Status& status) {
  const std::string resident =
      status.resident ? human_bytes(*status.resident) + " resident, " : std::string();
  return resident + human_bytes(status.totals.buffer_bytes) + " in flight of at most " +
         human_bytes(status.memory_budget) + " per worker";
}

}  // namespace

std::string proxy_text(const Status& status) {
  return status.proxy_url + " (" + join(status.proxies, "no address") + ")";
}

std::string tun_text(const Status& status) {
  return status.tun_name + " " + join(status.tun_addresses, "without an address");
}

std::string killswitch_text(const Status& status) {
  if (!status.killswitch) return "off: without the proxy, traffic goes direct";
  return "on (" + status.backend + "): what does not go through the proxy is refused at once";
}

std::string resolver_text(const Status& status) {
  return join(status.resolvers, "none: names do not work, see --allow-dns");
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {  // so that no "1024.0" is printed
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, value < 100 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
  return text;
}

std::string human_seconds(std::int64_t seconds) {
  const auto two = [](std::int64_t major, const char* big, std::int64_t minor, const char* small) {
    const std::string text = std::to_string(major) + big;
    return minor == 0 ? text : text + " " + std::to_string(minor) + small;
  };
  if (seconds < 60) return std::to_string(std::max<std::int64_t>(seconds, 0)) + " s";
  if (seconds < 3600) return two(seconds / 60, " min", seconds % 60, " s");
  if (seconds < 86400) return two(seconds / 3600, " h", seconds % 3600 / 60, " min");
  return two(seconds / 86400, " d", seconds % 86400 / 3600, " h");
}

std::string counted(std::uint64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

Fields status_fields(const Status& status) {
  Fields fields;
  if (!status.detail.empty()) fields.emplace_back("hint", status.detail);
  if (status.pid == 0) return fields;
  fields.emplace_back("proxy", proxy_text(status));
  if (!status.trouble.empty()) fields.emplace_back("trouble", "the proxy " + status.trouble);
  if (status.proxy_in_use) fields.emplace_back("in use", to_string(*status.proxy_in_use));
  fields.emplace_back("since", local_time(status.started) + " (" +
                                   human_seconds(status.now - status.started) + ", process " +
                                   std::to_string(status.pid) + ")");
  fields.emplace_back("tun", tun_text(status));
  fields.emplace_back("killswitch", killswitch_text(status));
  if (status.killswitch) fields.emplace_back("refused", refused_text(status));
  fields.emplace_back("resolvers", resolver_text(status));
  fields.emplace_back("flows", flows_text(status.totals));
  fields.emplace_back("failed", failed_text(status.totals));
  fields.emplace_back("bytes", human_bytes(status.totals.bytes_up) + " up, " +
                                   human_bytes(status.totals.bytes_down) + " down");
  fields.emplace_back("rates", human_bytes(status.rates.up) + "/s up, " +
                                   human_bytes(status.rates.down) + "/s down, " +
                                   counted(status.rates.flows, "flow", "flows") + "/s");
  fields.emplace_back("workers", workers_text(status));
  fields.emplace_back("memory", memory_text(status));
  return fields;
}

std::string aligned(const Fields& fields) {
  std::size_t width = 0;
  for (const auto& field : fields) width = std::max(width, field.first.size());
  std::string text;
  for (const auto& [key, value] : fields) {
    text.append(key).append(width - key.size() + 2, ' ').append(value).append("\n");
  }
  return text;
}

std::string status_text(const Status& status) {
  return state_text(status) + "\n" + aligned(status_fields(status));
}

}  // namespace proxyvpn::app
