#pragma once
// `proxyvpn up` from the checked command line to the exit status: what is decided before anything
// on the machine changes, and then the supervisor.
#include <string>
#include <vector>

#include "app/config.h"

namespace proxyvpn::app {

// `warnings`: sentences of the command line, for stderr. Answers the exit status of this process,
// which is the launcher's with --detach.
int run_up(Config config, const std::vector<std::string>& warnings);

}  // namespace proxyvpn::app
