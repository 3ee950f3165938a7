#pragma once
// `proxyvpn up` from the checked command line to the exit status: what is decided before anything
// on the machine changes, and then the supervisor.
#include <string>
#include <vector>

#include "app/config.h"
#include "app/config_sources.h"
#include "app/effective_options.h"

namespace proxyvpn::app {

// What was typed and found, checked, and where it came from.
struct UpCommand {
  Config config;
  Sources sources;
  EffectiveOptions options;
};
// `warnings`: sentences of the command line, for stderr. Answers the exit status of this process,
// which is the launcher's with --detach.
int run_up(UpCommand command, const std::vector<std::string>& warnings);

}  // namespace proxyvpn::app
