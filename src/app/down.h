#pragma once
// The commands that act on a daemon from outside, or on what one left behind. Each answers the exit
// status and says what it did.
#include "app/config.h"

namespace proxyvpn::app {

// Ends the daemon, if there is one, and waits until it is gone; ends it by force when it hangs;
// then removes what is left on the machine. 0 also when there was nothing to do.
int run_down(const Config& config);
// Opens a machine that was left shut on purpose (--persist-killswitch, lock).
int run_unlock(const Config& config);
// Shuts the machine without a daemon: nothing but `up` and `unlock` changes that.
int run_lock(const Config& config);
// Packets that the killswitch refused, per reason.
int run_counters(const Config& config);

}  // namespace proxyvpn::app
