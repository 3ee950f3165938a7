#pragma once
// Ending a daemon from outside: by asking, and by force when it does not hear.
#include <functional>
#include <string>

#include "app/state_dir.h"
#include "base/error.h"

namespace proxyvpn::app {

struct Stopped {
  bool found = false;      // there was one, and it is gone now
  bool forced = false;     // it had to be killed: the machine is still as it was
  bool left_shut = false;  // it said that the machine stays shut on purpose
  bool in_order = false;   // it took everything back itself: a file that stays is meant to stay
  std::string problem;     // what it could not take back
};

// Of the daemon of one state directory. Code::Permission: this user may not. Code::Timeout: it
// lives on. `say` gets a sentence when it takes longer than a second.
Result<Stopped> stop_daemon(const StateDir& directory,
                            const std::function<void(const std::string&)>& say);

// The same for the daemon of this network namespace that no directory leads to (beacon.h), by
// signal.
Result<Stopped> stop_lost_daemon(const std::function<void(const std::string&)>& say);

}  // namespace proxyvpn::app
