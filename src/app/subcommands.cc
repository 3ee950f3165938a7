#include <array>

#include "app/completion.h"
#include "app/config_command.h"
#include "app/doctor.h"
#include "app/exec_subcommand.h"
#include "app/flows_command.h"
#include "app/metrics_command.h"
#include "app/reload_command.h"
#include "app/run_subcommand.h"
#include "app/status_command.h"
#include "app/subcommand.h"

// The one list of the commands that have a file of their own. A line:
//   {"name", "What it does", make_name},
namespace proxyvpn::app {

std::span<const SubcommandEntry> subcommands() {
  static constexpr std::array kEntries = {
      SubcommandEntry{"status", "Say what state this machine is in", make_status_command},
      SubcommandEntry{"doctor", "Look at every precondition and at what is in force", make_doctor},
      SubcommandEntry{"flows", "List the open connections, or reset one: flows kill ID",
                      make_flows_command},
      SubcommandEntry{"run", "Run one command whose only network is the proxy", make_run},
      SubcommandEntry{"exec", "Run one command outside of the tunnel", make_exec},
      SubcommandEntry{"reload", "Have a running proxyvpn read its configuration again",
                      make_reload},
      SubcommandEntry{"config", "Check or show the configuration", make_config},
      SubcommandEntry{"completion", "Print the completions for a shell: bash, zsh or fish",
                      make_completion},
      SubcommandEntry{"metrics", "Print the numbers once as --metrics serves them",
                      make_metrics_command},
  };
  return kEntries;
}

}  // namespace proxyvpn::app
