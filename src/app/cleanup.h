#pragma once
// Taking back what a daemon left on the machine, from the kernel's state alone: no state file, no
// plan, no memory of how it was set up. Works after a crash at any step, and when nothing is there.
#include <string>
#include <vector>

#include "app/lifecycle.h"
#include "base/error.h"

namespace proxyvpn::app {

enum class Leftovers {
  Remove,      // `down`: everything, but a machine that was locked on purpose stays shut
  RemoveLock,  // `unlock`: everything
};

struct CleanUp {
  bool found = false;                 // there was something of ours
  bool still_locked = false;          // shut on purpose, and left so
  unsigned connections = 0;           // cut before the machine was opened
  std::vector<std::string> warnings;  // sentences
};

// In the order of a teardown: open connections are cut while the killswitch still holds, the
// killswitch goes last. Code::Busy when a living daemon owns it. `tun_names`: devices to remove if
// they are ours (their label tells).
Result<CleanUp> clean_up(const HostDoors& doors, const std::vector<std::string>& tun_names,
                         Leftovers what);

// `lock`: shuts the machine without a daemon, and cuts what it had opened. Sessions that have come
// in stay, as with `up`: whoever locks it may sit in one. A killswitch of a crashed run is replaced
// in one transaction. Code::Busy when a daemon is up. CleanUp::connections and ::warnings are told.
Result<CleanUp> lock_machine(const HostDoors& doors, firewall::Policy policy);

}  // namespace proxyvpn::app
