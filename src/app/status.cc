#include "app/status.h"

#include <array>

namespace proxyvpn::app {
namespace {

struct Word {
  RunState state;
  std::string_view text;
  std::string_view id;
  int exit_status;
};
constexpr std::array<Word, 9> kWords{{
    {RunState::Starting, "Starting", "starting", kExitNoTraffic},
    {RunState::Up, "Up", "up", kExitUp},
    {RunState::ProxyLost, "Proxy lost", "proxy_lost", kExitNoTraffic},
    {RunState::WorkerLost, "Restarting", "restarting", kExitNoTraffic},
    {RunState::Stopping, "Stopping", "stopping", kExitNoTraffic},
    {RunState::Crashed, "Crashed", "crashed", kExitShut},
    {RunState::Locked, "Locked", "locked", kExitShut},
    {RunState::Down, "Down", "down", kExitDown},
    {RunState::Unknown, "Unknown", "unknown", 1},
}};

const Word& word(RunState state) noexcept {
  for (const Word& candidate : kWords) {
    if (candidate.state == state) return candidate;
  }
  return kWords.back();
}

}  // namespace

std::string_view to_string(RunState state) noexcept { return word(state).text; }
std::string_view id_of(RunState state) noexcept { return word(state).id; }
int exit_status(RunState state, bool waited_for_the_end) noexcept {
  if (waited_for_the_end && state == RunState::Down) return 0;
  return word(state).exit_status;
}

std::optional<RunState> state_from_id(std::string_view id) noexcept {
  for (const Word& candidate : kWords) {
    if (candidate.id == id) return candidate.state;
  }
  return std::nullopt;
}

bool is_shut(const Status& status) noexcept {
  switch (status.state) {
    case RunState::Crashed:
    case RunState::Locked:
      return true;
    case RunState::Starting:
    case RunState::ProxyLost:
    case RunState::WorkerLost:
    case RunState::Stopping:
      return status.killswitch;
    case RunState::Up:
    case RunState::Down:
    case RunState::Unknown:
      return false;
  }
  return false;
}

std::string state_text(const Status& status) {
  std::string text(to_string(status.state));
  // A start and an end are moments; that they are shut needs no word.
  const bool moment = status.state == RunState::Starting || status.state == RunState::Stopping;
  if (is_shut(status) && !moment) text += " (shut)";
  return text;
}

firewall::Counter all_refused(const Status& status) {
  firewall::Counter sum;
  for (const auto& counter : status.refused) {
    sum.packets += counter.packets;
    sum.bytes += counter.bytes;
  }
  return sum;
}

}  // namespace proxyvpn::app
