#include "app/down.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "app/capabilities.h"
#include "app/cleanup.h"
#include "app/control_client.h"
#include "app/detach.h"
#include "app/direct_group.h"
#include "app/host_tools.h"
#include "app/state_dir.h"
#include "app/state_file.h"
#include "app/status_text.h"
#include "app/stop_daemon.h"

namespace proxyvpn::app {
namespace {

constexpr int kExitFailure = 1;

void say(const std::string& sentence) {
  Launcher().progress("");  // what is shown on a terminal meanwhile goes first
  std::fprintf(stderr, "proxyvpn: %s\n", sentence.c_str());
}

int fail_with(const std::string& sentence) {
  say("error: " + sentence);
  return kExitFailure;
}

// Without the capability nothing on the machine can even be looked at.
std::optional<int> refuse_without_capability() {
  const std::string missing = explain_missing(read_capability_facts(CAP_NET_ADMIN));
  if (missing.empty()) return std::nullopt;
  return fail_with(missing);
}

void add_name(std::vector<std::string>& names, const std::string& name) {
  if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) {
    names.push_back(name);
  }
}

// What a dead daemon's note says, if it says anything.
StateFile note_in(const StateDir& directory) {
  const auto text = directory.read_file(kStateName, kMaxStateFile);
  if (!text) return {};
  return parse_state(*text).value_or(StateFile{});
}

void remove_files(StateDir& directory, const StateFile& note, bool keep) {
  if (InstanceLock::holder(directory)) return;  // somebody starts at this moment
  std::vector<const char*> names = {kControlName, kLockName};
  if (!keep) names.insert(names.end(), {kStateName, kLogName, kOldLogName});
  for (const char* name : names) static_cast<void>(directory.remove_file(name));
  if (note.made_directory) directory.inherit();
  directory.remove_if_made();
}

struct Daemons {
  bool found = false;
  bool forced = false;
  bool left_shut = false;
  std::vector<std::string> tun_names;
  std::optional<Error> problem;
};

// Every daemon of ours that can be found, in every directory that may be its.
Daemons stop_daemons(const Config& config) {
  Daemons result;
  add_name(result.tun_names, config.tun_name);
  for (const auto& path : candidate_state_dirs(config.state_dir, ::geteuid())) {
    auto directory = StateDir::open_existing(path);
    if (!directory) {
      if (directory.error().code == Code::Permission) result.problem = directory.error();
      continue;
    }
    const StateFile note = note_in(*directory);
    add_name(result.tun_names, note.tun_name);
    Launcher().progress("going down: waiting until everything is taken back");
    const auto stopped = stop_daemon(*directory, say);
    Launcher().progress("");
    if (!stopped) {
      result.problem = stopped.error();
      continue;
    }
    if (!stopped->problem.empty()) say("the daemon says: " + stopped->problem);
    result.found = result.found || stopped->found;
    result.forced = result.forced || stopped->forced;
    result.left_shut = result.left_shut || stopped->left_shut;
    // What the daemon kept, it was started with --keep-logs for (or failed, and its log says why).
    remove_files(*directory, note, config.keep_logs || stopped->in_order);
  }
  return result;
}

std::string cut_text(const CleanUp& cleaned) {
  if (cleaned.connections == 0) return {};
  return ", " + std::to_string(cleaned.connections) +
         (cleaned.connections == 1 ? " open connection was cut" : " open connections were cut");
}

int report(const CleanUp& cleaned, const Daemons& daemons) {
  for (const auto& warning : cleaned.warnings) say("warning: " + warning);
  if (cleaned.still_locked) {
    say("down; the machine stays shut on purpose: `proxyvpn unlock` opens it");
  } else if (daemons.found && !daemons.forced) {
    say("down: everything is as before");
  } else if (daemons.forced || cleaned.found) {
    say("down: what was left behind is removed" + cut_text(cleaned));
  } else {
    say("nothing to do: no proxyvpn is up");
  }
  return 0;
}

int clean_machine(const Config& config, Leftovers what) {
  Daemons daemons = stop_daemons(config);
  if (daemons.problem && daemons.problem->code == Code::Permission && !daemons.found) {
    return fail_with(daemons.problem->message);
  }
  const bool may_look = explain_missing(read_capability_facts(CAP_NET_ADMIN)).empty();
  if (!may_look && daemons.found && !daemons.forced) return report({}, daemons);
  if (const auto refused = refuse_without_capability()) return *refused;
  auto tools = HostTools::open(config.backend);
  if (!tools) return fail_with(tools.error().message);
  auto cleaned = clean_up(tools->doors(), daemons.tun_names, what);
  if (!cleaned && cleaned.error().code == Code::Busy) {
    const auto stopped = stop_lost_daemon(say);
    if (!stopped) return fail_with(stopped.error().message);
    daemons.found = daemons.found || stopped->found;
    daemons.forced = daemons.forced || stopped->forced;
    cleaned = clean_up(tools->doors(), daemons.tun_names, what);
  }
  if (!cleaned) {
    const bool alive = cleaned.error().code == Code::Busy;
    return fail_with(cleaned.error().message +
                     (alive ? ", and nothing leads to it: give the state directory that it was "
                              "started with (--state-dir), or end its process and run this again"
                            : "; run this again, or as root"));
  }
  if (auto gone = remove_direct_group(); !gone) cleaned->warnings.push_back(gone.error().message);
  return report(*cleaned, daemons);
}

}  // namespace

int run_down(const Config& config) { return clean_machine(config, Leftovers::Remove); }

int run_unlock(const Config& config) {
  if (const auto refused = refuse_without_capability()) return *refused;
  auto tools = HostTools::open(config.backend);
  if (!tools) return fail_with(tools.error().message);
  const auto cleaned = clean_up(tools->doors(), {config.tun_name}, Leftovers::RemoveLock);
  if (!cleaned && cleaned.error().code == Code::Busy) {
    return fail_with("proxyvpn is up, so there is nothing to unlock: `proxyvpn down` ends it");
  }
  if (!cleaned) return fail_with(cleaned.error().message);
  for (const auto& warning : cleaned->warnings) say("warning: " + warning);
  say(cleaned->found ? "unlocked: the machine is open" : "nothing to do: the machine was open");
  return 0;
}

int run_lock(const Config& config) {
  if (const auto refused = refuse_without_capability()) return *refused;
  auto tools = HostTools::open(config.backend);
  if (!tools) return fail_with(tools.error().message);
  firewall::Policy policy;
  policy.tun_name = config.tun_name;
  policy.marks = config.marks;
  const auto locked = lock_machine(tools->doors(), policy);
  if (!locked) return fail_with(locked.error().message);
  for (const auto& warning : locked->warnings) say("warning: " + warning);
  say("locked: nothing leaves this machine until `proxyvpn up` or `proxyvpn unlock`" +
      cut_text(*locked));
  return 0;
}

int run_counters(const Config& config) {
  const auto answer = ask_any(config, {Verb::Counters}, kAnswerTime);
  if (!answer) return fail_with(answer.error().message);
  if (!answer->reply.ok) return fail_with(answer->reply.problem);
  std::fputs(aligned(answer->reply.fields).c_str(), stdout);
  return 0;
}

}  // namespace proxyvpn::app
