#include "app/machine_state.h"

#include <algorithm>
#include <ctime>

#include "app/beacon.h"
#include "app/host_tools.h"
#include "app/lifecycle.h"
#include "netlink/plan.h"

namespace proxyvpn::app {
namespace {

using firewall::Presence;

bool any_of_ours(const std::vector<std::string>& lines) {
  return std::any_of(lines.begin(), lines.end(), netlink::is_ours);
}

Status with(RunState state, std::string detail) {
  Status status;
  status.state = state;
  status.detail = std::move(detail);
  return status;
}

Status shut_machine(bool locked) {
  return locked ? with(RunState::Locked, "`proxyvpn unlock` opens the machine")
                : with(RunState::Crashed, "`proxyvpn up` takes over, `proxyvpn down` opens");
}

}  // namespace

Status judge_machine(const MachineFacts& facts) {
  constexpr const char* kAsk =
      "a proxyvpn runs, but its control socket is not found here: give the --state-dir that it was "
      "started with";
  if (facts.presence == Presence::Owned || facts.daemon_lives) {
    return with(RunState::Unknown, kAsk);
  }
  if (facts.presence) {
    return *facts.presence == Presence::Absent ? with(RunState::Down, "")
                                               : shut_machine(facts.locked);
  }
  if (facts.locked || facts.routing_of_ours) return shut_machine(facts.locked);
  return with(RunState::Down, "seen from rules and routes alone, as " + facts.filter_problem);
}

Status state_without_daemon(const Config& config) {
  MachineFacts facts;
  facts.daemon_lives = find_beacon().has_value();
  const auto routing = netlink::open_routing();
  if (routing) {
    const auto locked = is_locked(**routing);
    facts.locked = locked && *locked;
    const auto snapshot = (*routing)->snapshot();
    facts.routing_of_ours =
        snapshot && (any_of_ours(snapshot->rules) || any_of_ours(snapshot->rules_v6) ||
                     any_of_ours(snapshot->routes));
  }
  auto tools = HostTools::open(config.backend);
  if (tools) {
    const auto capability = tools->doors().raise();
    const auto presence = tools->firewall->presence();
    if (presence) {
      facts.presence = *presence;
    } else {
      facts.filter_problem = presence.error().message;
    }
  } else {
    facts.filter_problem = tools.error().message;
  }
  Status status = judge_machine(facts);
  status.now = std::time(nullptr);
  return status;
}

}  // namespace proxyvpn::app
