#pragma once
// `run`: one command with a network of its own whose only way out is the proxy.
//
//   this process ── serves sockets, passes signals on, waits       (the machine's own network)
//    ├─ worker ──── run_engine(), confined as the workers of `up`  (likewise)
//    ├─ log writer
//    └─ command ─── its namespaces, the TUN as its default route
#include <string>
#include <vector>

#include "app/config.h"

namespace proxyvpn::app {

struct RunRequest {
  Config config;
  std::vector<std::string> command;   // at least one word
  std::vector<std::string> warnings;  // sentences for stderr
};

// Does it all; answers the exit status: the command's, 128 + n when signal n ended it, or those of
// exec_command.h.
int run_in_private_network(RunRequest request);

}  // namespace proxyvpn::app
