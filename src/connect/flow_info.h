#pragma once
// What there is to tell about one tunnel, and how its number is written.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "stack/tcp_flow.h"

namespace proxyvpn::connect {

enum class FlowState : std::uint8_t {
  Waiting = 1,     // for a socket
  Connecting = 2,  // to the proxy
  Asking = 3,      // CONNECT was sent
  Accepting = 4,   // the proxy agreed, the application is being told
  Open = 5,
  HalfClosed = 6,  // one side has finished
};
// "open", "half closed", ...
std::string_view to_string(FlowState state) noexcept;

struct FlowInfo {
  std::uint64_t id = 0;
  stack::FlowKey key;
  FlowState state = FlowState::Waiting;
  TimePoint started;
  TimePoint active;  // when a byte went either way
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
};

// A flow's number is unique over all workers of a run: the life of the worker that has it (1 for
// the first that was started) and a serial number of its own.
inline constexpr unsigned kSerialBits = 40;
constexpr std::uint64_t first_flow_id(std::uint64_t life) noexcept {
  return (life << kSerialBits) + 1;
}
constexpr std::uint64_t life_of(std::uint64_t id) noexcept { return id >> kSerialBits; }
// "3.1245"
std::string flow_id_text(std::uint64_t id);
// Empty for anything that flow_id_text() would not write.
std::optional<std::uint64_t> parse_flow_id(std::string_view text) noexcept;

}  // namespace proxyvpn::connect
