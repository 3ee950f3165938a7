#include "app/start_report.h"

#include <algorithm>
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

std::string proxy_text(const RunFacts& facts) {
  return facts.proxy_url + " (" + join(facts.proxies, "no address") + ")";
}

std::string tun_text(const RunFacts& facts) {
  return facts.tun_name + " " + join(facts.tun_addresses, "without an address");
}

std::string killswitch_text(const RunFacts& facts) {
  if (!facts.killswitch) return "off: without the proxy, traffic goes direct";
  return "on (" + facts.backend + "): what does not go through the proxy is refused at once";
}

std::string resolver_text(const RunFacts& facts) {
  return join(facts.resolvers, "none: names do not work, see --allow-dns");
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

std::string amount(std::uint64_t packets, std::uint64_t bytes) {
  return std::to_string(packets) + (packets == 1 ? " packet, " : " packets, ") +
         std::to_string(bytes) + " bytes";
}

}  // namespace

std::string_view to_string(RunState state) noexcept {
  switch (state) {
    case RunState::Starting:
      return "Starting";
    case RunState::Up:
      return "Up";
    case RunState::ProxyLost:
      return "Proxy lost";
    case RunState::WorkerLost:
      return "Restarting";
    case RunState::Stopping:
      return "Stopping";
  }
  return "?";
}

std::string dns_line(const std::vector<IpAddress>& resolvers) {
  return "DNS bypass IPs: [" + join(resolvers, "") + "]";
}

std::vector<std::string> start_lines(const RunFacts& facts, bool detached) {
  const Fields fields = {
      {"proxy", proxy_text(facts)},
      {"tun", tun_text(facts)},
      {"killswitch", killswitch_text(facts)},
      {"resolvers", resolver_text(facts)},
      {"stop with", detached ? "proxyvpn down" : "Ctrl-C, or `proxyvpn down` in another terminal"},
  };
  std::vector<std::string> lines = {"proxyvpn is up: TCP goes through the proxy"};
  const std::string text = aligned(fields);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back("  " + text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

Fields counter_fields(const std::vector<firewall::Counter>& refused) {
  Fields fields;
  for (const auto& counter : refused) {
    fields.emplace_back("refused-" + counter.reason, amount(counter.packets, counter.bytes));
  }
  return fields;
}

Fields status_fields(const RunFacts& facts, const WorkerTotals& totals,
                     const std::vector<firewall::Counter>& refused) {
  std::string state(to_string(facts.state));
  const bool waits = facts.state == RunState::ProxyLost || facts.state == RunState::WorkerLost;
  if (waits && facts.killswitch) state += " (shut)";
  const auto number = [](std::uint64_t value) { return std::to_string(value); };
  Fields fields = {{"state", state}, {"proxy", proxy_text(facts)}};
  if (!facts.trouble.empty()) fields.emplace_back("trouble", "the proxy " + facts.trouble);
  fields.emplace_back("since", local_time(facts.started) + " (" +
                                   std::to_string(facts.now - facts.started) + " s)");
  fields.emplace_back("tun", tun_text(facts));
  fields.emplace_back("killswitch", killswitch_text(facts));
  fields.emplace_back("resolvers", resolver_text(facts));
  fields.emplace_back("workers", number(facts.workers) + " of " + number(facts.workers_wanted));
  fields.emplace_back("flows", number(totals.flows_open) + " open, " + number(totals.flows_total) +
                                   " in all, " + number(totals.refused_by_proxy) +
                                   " refused by the proxy, " + number(totals.refused_proxy_lost) +
                                   " while it was lost, " + number(totals.timeouts) + " timed out");
  fields.emplace_back("bytes",
                      number(totals.bytes_up) + " up, " + number(totals.bytes_down) + " down");
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  for (const auto& counter : refused) {
    packets += counter.packets;
    bytes += counter.bytes;
  }
  fields.emplace_back("refused", amount(packets, bytes));
  return fields;
}

std::string aligned(const Fields& fields) {
  std::size_t width = 0;
  for (const auto& field : fields) width = std::max(width, field.first.size());
  std::string text;
  for (const auto& [key, value] : fields) {
    text += key + std::string(width - key.size() + 2, ' ') + value + "\n";
  }
  return text;
}

}  // namespace proxyvpn::app
