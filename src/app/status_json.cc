#include "app/status_json.h"

#include "app/json_value.h"

namespace proxyvpn::app {
namespace {

constexpr std::size_t kMostItems = 1024;  // of one list: more than a daemon ever tells

template <class T>
Json texts(const std::vector<T>& items) {
  Json list = Json::array();
  for (const auto& item : items) list.push_back(to_string(item));
  return list;
}

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json flows(const WorkerTotals& totals) {
  return {{"open", totals.flows_open},
          {"total", totals.flows_total},
          {"refused_by_proxy", totals.refused_by_proxy},
          {"refused_proxy_lost", totals.refused_proxy_lost},
          {"dropped_at_limit", totals.refused_limit},
          {"timed_out", totals.timeouts},
          {"reset", totals.resets}};
}

Json rates(const Rates& rates) {
  return {{"up", rates.up}, {"down", rates.down}, {"flows", rates.flows}};
}

Json killswitch(const Status& status) {
  Json reasons = Json::array();
  for (const auto& counter : status.refused) {
    reasons.push_back(
        {{"reason", counter.reason}, {"packets", counter.packets}, {"bytes", counter.bytes}});
  }
  const auto all = all_refused(status);
  return {{"on", status.killswitch},
          {"backend", or_null(status.backend)},
          {"refused_packets", all.packets},
          {"refused_bytes", all.bytes},
          {"refused", std::move(reasons)}};
}

Json workers(const Status& status) {
  Json list = Json::array();
  for (const auto& worker : status.worker_list) {
    list.push_back({{"number", worker.number},
                    {"pid", worker.pid == 0 ? Json(nullptr) : Json(worker.pid)},
                    {"flows_open", worker.flows_open},
                    {"bytes_up", worker.bytes_up},
                    {"bytes_down", worker.bytes_down}});
  }
  return {
      {"running", status.workers}, {"wanted", status.workers_wanted}, {"list", std::move(list)}};
}

Json history(const std::vector<Rates>& samples) {
  Json list = Json::array();
  for (const auto& sample : samples) list.push_back(rates(sample));
  return list;
}

// The parts that only a running daemon has.
void add_daemon(Json& root, const Status& status) {
  root["pid"] = status.pid;
  root["since"] = status.started;
  root["proxy"] = {
      {"url", status.proxy_url},
      {"addresses", texts(status.proxies)},
      {"in_use", status.proxy_in_use ? Json(to_string(*status.proxy_in_use)) : Json(nullptr)},
      {"trouble", or_null(status.trouble)}};
  root["tun"] = {{"name", status.tun_name}, {"addresses", texts(status.tun_addresses)}};
  root["killswitch"] = killswitch(status);
  root["resolvers"] = texts(status.resolvers);
  root["flows"] = flows(status.totals);
  root["bytes"] = {{"up", status.totals.bytes_up}, {"down", status.totals.bytes_down}};
  root["rates"] = rates(status.rates);
  root["history"] = history(status.history);
  root["packets"] = {{"in", status.totals.packets_in},
                     {"out", status.totals.packets_out},
                     {"bad", status.totals.packets_bad}};
  root["workers"] = workers(status);
  root["memory"] = {{"resident", status.resident ? Json(*status.resident) : Json(nullptr)},
                    {"in_flight", status.totals.buffer_bytes},
                    {"budget_per_worker", status.memory_budget}};
}

// Reading: every value is looked at before it is taken.
template <class T, class Parse>
bool take_list(const Json& object, const char* key, std::vector<T>& target, Parse parse) {
  const Json* list = member(object, key);
  if (list == nullptr) return true;
  if (!list->is_array() || list->size() > kMostItems) return false;
  for (const Json& item : *list) {
    auto value = parse(item);
    if (!value) return false;
    target.push_back(std::move(*value));
  }
  return true;
}

template <class T>
auto from_text(Result<T> (*parse)(std::string_view)) {
  return [parse](const Json& item) -> std::optional<T> {
    if (!item.is_string()) return std::nullopt;
    auto value = parse(item.get_ref<const std::string&>());
    if (!value) return std::nullopt;
    return *value;
  };
}

std::optional<Rates> read_rates(const Json& item) {
  Rates rates;
  if (!item.is_object() || !take(item, "up", rates.up) || !take(item, "down", rates.down) ||
      !take(item, "flows", rates.flows)) {
    return std::nullopt;
  }
  return rates;
}

std::optional<firewall::Counter> read_counter(const Json& item) {
  firewall::Counter counter;
  if (!item.is_object() || !take(item, "reason", counter.reason) ||
      !take(item, "packets", counter.packets) || !take(item, "bytes", counter.bytes)) {
    return std::nullopt;
  }
  return counter;
}

std::optional<WorkerStatus> read_worker(const Json& item) {
  WorkerStatus worker;
  if (!item.is_object() || !take(item, "number", worker.number) || !take(item, "pid", worker.pid) ||
      !take(item, "flows_open", worker.flows_open) || !take(item, "bytes_up", worker.bytes_up) ||
      !take(item, "bytes_down", worker.bytes_down)) {
    return std::nullopt;
  }
  return worker;
}

bool read_proxy(const Json& proxy, Status& status) {
  std::string in_use;
  if (!take(proxy, "url", status.proxy_url) || !take(proxy, "trouble", status.trouble) ||
      !take(proxy, "in_use", in_use) ||
      !take_list(proxy, "addresses", status.proxies, from_text(&parse_endpoint))) {
    return false;
  }
  if (in_use.empty()) return true;
  const auto endpoint = parse_endpoint(in_use);
  if (!endpoint) return false;
  status.proxy_in_use = *endpoint;
  return true;
}

bool read_flows(const Json& flows, WorkerTotals& totals) {
  return take(flows, "open", totals.flows_open) && take(flows, "total", totals.flows_total) &&
         take(flows, "refused_by_proxy", totals.refused_by_proxy) &&
         take(flows, "refused_proxy_lost", totals.refused_proxy_lost) &&
         take(flows, "dropped_at_limit", totals.refused_limit) &&
         take(flows, "timed_out", totals.timeouts) && take(flows, "reset", totals.resets);
}

bool read_numbers(const Json& root, Status& status) {
  const Json& bytes = object_in(root, "bytes");
  const Json& packets = object_in(root, "packets");
  const Json& memory = object_in(root, "memory");
  const auto now = read_rates(object_in(root, "rates"));
  if (!now) return false;
  status.rates = *now;
  if (const Json* resident = member(memory, "resident");
      resident != nullptr && !resident->is_null()) {
    std::uint64_t value = 0;
    if (!take(memory, "resident", value)) return false;
    status.resident = value;
  }
  auto& totals = status.totals;
  return read_flows(object_in(root, "flows"), totals) && take(bytes, "up", totals.bytes_up) &&
         take(bytes, "down", totals.bytes_down) && take(packets, "in", totals.packets_in) &&
         take(packets, "out", totals.packets_out) && take(packets, "bad", totals.packets_bad) &&
         take(memory, "in_flight", totals.buffer_bytes) &&
         take(memory, "budget_per_worker", status.memory_budget) &&
         take_list(root, "history", status.history, read_rates);
}

bool read_daemon(const Json& root, Status& status) {
  const Json& tun = object_in(root, "tun");
  const Json& killswitch = object_in(root, "killswitch");
  const Json& workers = object_in(root, "workers");
  return take(root, "pid", status.pid) && take(root, "since", status.started) &&
         read_proxy(object_in(root, "proxy"), status) && take(tun, "name", status.tun_name) &&
         take_list(tun, "addresses", status.tun_addresses, from_text(&parse_cidr)) &&
         take(killswitch, "on", status.killswitch) && take(killswitch, "backend", status.backend) &&
         take_list(killswitch, "refused", status.refused, read_counter) &&
         take_list(root, "resolvers", status.resolvers, from_text(&IpAddress::parse)) &&
         take(workers, "running", status.workers) &&
         take(workers, "wanted", status.workers_wanted) &&
         take_list(workers, "list", status.worker_list, read_worker);
}

}  // namespace

std::string to_json(const Status& status, bool indented) {
  Json root = {{"schema", kSchema},
               {"state", id_of(status.state)},
               {"state_text", state_text(status)},
               {"shut", is_shut(status)},
               {"detail", or_null(status.detail)},
               {"time", status.now},
               {"pid", nullptr}};
  if (status.pid != 0) add_daemon(root, status);
  return text_of(root, indented);
}

Result<Status> parse_status(std::string_view text) {
  const auto no_status = [] {
    return fail(Code::Protocol, "the daemon's status is not understood: is it of another version?");
  };
  const Json root = Json::parse(text, nullptr, false);
  int schema = 0;
  std::string id;
  Status status;
  if (!root.is_object() || !take(root, "schema", schema) || schema != kSchema ||
      !take(root, "state", id) || !take(root, "detail", status.detail) ||
      !take(root, "time", status.now)) {
    return no_status();
  }
  const auto state = state_from_id(id);
  if (!state) return no_status();
  status.state = *state;
  if (!read_daemon(root, status) || !read_numbers(root, status)) return no_status();
  return status;
}

}  // namespace proxyvpn::app
