#pragma once
// The open flows as people and programs read them. Pure.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/flow_client.h"
#include "app/flow_owner.h"

namespace proxyvpn::app {

struct FlowRow {
  FlowRecord flow;
  std::optional<FlowOwner> owner;
  std::uint64_t rate_up = 0;  // bytes per second
  std::uint64_t rate_down = 0;
};

enum class FlowSort : std::uint8_t { Rate, Bytes, Up, Down, Age, Idle, Target, Application, Id };
inline constexpr std::string_view kFlowSorts = "rate|bytes|up|down|age|idle|target|application|id";
std::optional<FlowSort> flow_sort_from(std::string_view word) noexcept;
std::string_view to_string(FlowSort by) noexcept;
// The next of those that need no application, which a live view knows of a few flows only.
FlowSort next_sort(FlowSort by) noexcept;

// Rates from two looks; a flow that `before` did not have counts from its beginning.
std::vector<FlowRow> to_rows(const FlowList& before, const FlowList& now);
// The largest, the oldest or the first of the alphabet come first; equals by number.
void sort_rows(std::vector<FlowRow>& rows, FlowSort by);

// "curl (4711)", "user alice", "-"
std::string owner_text(const std::optional<FlowOwner>& owner);
inline double in_seconds(milliseconds time) { return static_cast<double>(time.count()) / 1000; }
// "0.4 s", "59 s", "3 min 5 s"
std::string short_time(milliseconds time);

// A table with a line of titles. `list` says what the rows don't: whether some are missing.
std::string flows_text(const FlowList& list, const std::vector<FlowRow>& rows);
// docs/flows.schema.json. `now`: seconds since the epoch.
std::string flows_json(const FlowList& list, const std::vector<FlowRow>& rows, std::int64_t now);

}  // namespace proxyvpn::app
