#include "app/subcommand.h"

// The one list of the commands that have a file of their own. A line:
//   {"name", "What it does", make_name},
namespace proxyvpn::app {

std::span<const SubcommandEntry> subcommands() { return {}; }

}  // namespace proxyvpn::app
