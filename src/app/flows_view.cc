#include "app/flows_view.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <tuple>
#include <unordered_map>

#include "app/rate_meter.h"
#include "app/status_text.h"

namespace proxyvpn::app {
namespace {

constexpr std::array<std::pair<std::string_view, FlowSort>, 9> kSorts{{
    {"rate", FlowSort::Rate},
    {"bytes", FlowSort::Bytes},
    {"up", FlowSort::Up},
    {"down", FlowSort::Down},
    {"age", FlowSort::Age},
    {"idle", FlowSort::Idle},
    {"target", FlowSort::Target},
    {"application", FlowSort::Application},
    {"id", FlowSort::Id},
}};

// What is sorted by, the larger the earlier.
std::uint64_t weight(const FlowRow& row, FlowSort by) {
  switch (by) {
    case FlowSort::Rate:
      return row.rate_up + row.rate_down;
    case FlowSort::Bytes:
      return row.flow.bytes_up + row.flow.bytes_down;
    case FlowSort::Up:
      return row.flow.bytes_up;
    case FlowSort::Down:
      return row.flow.bytes_down;
    case FlowSort::Age:
      return static_cast<std::uint64_t>(row.flow.age.count());
    case FlowSort::Idle:
      return static_cast<std::uint64_t>(row.flow.idle.count());
    case FlowSort::Target:
    case FlowSort::Application:
    case FlowSort::Id:
      return 0;
  }
  return 0;
}

using Cells = std::array<std::string, 10>;
constexpr std::array<bool, 10> kRight = {false, false, false, false, true,
                                         true,  true,  true,  true,  true};

Cells cells(const FlowRow& row) {
  const FlowRecord& flow = row.flow;
  return {connect::flow_id_text(flow.id),
          owner_text(row.owner),
          to_string(flow.destination),
          std::string(connect::to_string(flow.state)),
          short_time(flow.age),
          short_time(flow.idle),
          human_bytes(flow.bytes_up),
          human_bytes(flow.bytes_down),
          human_bytes(row.rate_up) + "/s",
          human_bytes(row.rate_down) + "/s"};
}

std::string table(const std::vector<Cells>& lines) {
  std::array<std::size_t, 10> width{};
  for (const Cells& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], line[i].size());
  }
  std::string text;
  for (const Cells& line : lines) {
    std::string row;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string blanks(width[i] - line[i].size(), ' ');
      if (i != 0) row += "  ";
      row += kRight[i] ? blanks + line[i] : line[i] + blanks;
    }
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  }
  return text;
}

}  // namespace

std::optional<FlowSort> flow_sort_from(std::string_view word) noexcept {
  for (const auto& [name, by] : kSorts) {
    if (name == word) return by;
  }
  return std::nullopt;
}

std::string_view to_string(FlowSort by) noexcept {
  for (const auto& [name, candidate] : kSorts) {
    if (candidate == by) return name;
  }
  return "?";
}

FlowSort next_sort(FlowSort by) noexcept {
  constexpr std::array kTurns = {FlowSort::Rate, FlowSort::Bytes, FlowSort::Age, FlowSort::Idle,
                                 FlowSort::Target};
  const auto at = std::find(kTurns.begin(), kTurns.end(), by);
  return at == kTurns.end() || at + 1 == kTurns.end() ? kTurns.front() : *(at + 1);
}

std::vector<FlowRow> to_rows(const FlowList& before, const FlowList& now) {
  std::unordered_map<std::uint64_t, const FlowRecord*> earlier;
  for (const FlowRecord& flow : before.flows) earlier.emplace(flow.id, &flow);
  std::vector<FlowRow> rows;
  rows.reserve(now.flows.size());
  for (const FlowRecord& flow : now.flows) {
    FlowRow row;
    row.flow = flow;
    const auto then = earlier.find(flow.id);
    const bool known = then != earlier.end();
    // The same worker's clock gave both ages, so that their difference is the time between.
    const Duration time = known ? flow.age - then->second->age : flow.age;
    row.rate_up = per_second(known ? then->second->bytes_up : 0, flow.bytes_up, time);
    row.rate_down = per_second(known ? then->second->bytes_down : 0, flow.bytes_down, time);
    rows.push_back(std::move(row));
  }
  return rows;
}

void sort_rows(std::vector<FlowRow>& rows, FlowSort by) {
  const auto earlier = [by](const FlowRow& a, const FlowRow& b) {
    if (by == FlowSort::Target) {
      return std::tie(a.flow.destination, a.flow.id) < std::tie(b.flow.destination, b.flow.id);
    }
    const std::uint64_t weight_a = weight(a, by);
    const std::uint64_t weight_b = weight(b, by);
    return weight_a != weight_b ? weight_a > weight_b : a.flow.id < b.flow.id;
  };
  if (by == FlowSort::Application) {
    std::stable_sort(rows.begin(), rows.end(), [](const FlowRow& a, const FlowRow& b) {
      const std::string one = owner_text(a.owner);
      const std::string other = owner_text(b.owner);
      return one != other ? one < other : a.flow.id < b.flow.id;
    });
    return;
  }
  std::sort(rows.begin(), rows.end(), earlier);
}

std::string owner_text(const std::optional<FlowOwner>& owner) {
  if (!owner) return "-";
  if (owner->pid == 0) return "user " + owner->user;
  return owner->name + " (" + std::to_string(owner->pid) + ")";
}

std::string short_time(milliseconds time) {
  if (time >= seconds(10)) return human_seconds(std::chrono::floor<seconds>(time).count());
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", in_seconds(time));
  return text;
}

std::string flows_text(const FlowList& list, const std::vector<FlowRow>& rows) {
  std::vector<Cells> lines = {{"ID", "APPLICATION", "TARGET", "STATE", "AGE", "IDLE", "UP", "DOWN",
                               "RATE UP", "RATE DOWN"}};
  for (const FlowRow& row : rows) lines.push_back(cells(row));
  std::string text = rows.empty() ? std::string() : table(lines);
  text += counted(list.open, "flow", "flows") + " open";
  if (!list.complete) text += "; not all are shown, as a worker did not answer in time";
  return text + "\n";
}

}  // namespace proxyvpn::app
