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

// Exit statuses of `run` besides the command's own: 128 + n for a command that signal n ended.
inline constexpr int kExitRunFailed = 125;  // it was not started, for a reason of ours
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNoCommand = 127;

struct RunRequest {
  Config config;
  std::vector<std::string> command;   // at least one word
  std::vector<std::string> warnings;  // sentences for stderr
};

// Does it all; answers the exit status.
int run_in_private_network(RunRequest request);

}  // namespace proxyvpn::app
