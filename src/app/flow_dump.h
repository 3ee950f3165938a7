#pragma once
// The table of flows as a worker writes it into the memory file that comes with DumpFlows: a header
// and fixed-size records, integers in the machine's own byte order (both ends are one binary). The
// supervisor hands the file on unread; the client that reads it trusts nothing in it.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/ip.h"
#include "connect/flow_info.h"

namespace proxyvpn::app {

inline constexpr std::size_t kFlowHeaderSize = 32;
inline constexpr std::size_t kFlowRecordSize = 80;
inline constexpr std::uint32_t kMostDumpedFlows = 200'000;  // of one worker: 16 MB

struct FlowRecord {
  std::uint64_t id = 0;
  Endpoint source;
  Endpoint destination;
  connect::FlowState state = connect::FlowState::Open;
  milliseconds age{};
  milliseconds idle{};
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  friend bool operator==(const FlowRecord&, const FlowRecord&) = default;
};

struct FlowDump {
  TimePoint taken;         // by the clock that all processes share
  std::uint64_t open = 0;  // that the worker had; may be more than it could write
  std::vector<FlowRecord> flows;
};

FlowRecord to_record(const connect::FlowInfo& flow, TimePoint now) noexcept;

// Appends what a reader expects. `count` records follow the header.
void append_header(std::vector<std::uint8_t>& bytes, TimePoint taken, std::uint64_t open,
                   std::uint64_t count);
void append_record(std::vector<std::uint8_t>& bytes, const FlowRecord& flow);

// Empty for anything that is not a header and as many records in range as it says, at most
// kMostDumpedFlows. What is behind them is passed over: the file is larger than what it holds.
std::optional<FlowDump> decode_flows(std::span<const std::uint8_t> bytes);

}  // namespace proxyvpn::app
