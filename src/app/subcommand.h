#pragma once
// A command of the command line in a file of its own. `up` and those that act on a daemon with the
// options of `down` stand in cli.cc; every other one is a Subcommand and a line in subcommands.cc.
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"

namespace CLI {
class App;
}

namespace proxyvpn::app {

// What a command does once everything typed has been checked; answers the exit status.
using Action = std::function<int()>;

class Subcommand {
 public:
  virtual ~Subcommand() = default;
  // Options, positionals and commands below this one, bound to members. --help and --version are
  // added by the caller. Called once, before the parse.
  virtual void define(CLI::App& app) = 0;
  // After a parse that chose this command: checks every value before anything is done. An error
  // with Code::InvalidArgument is about what was typed (exit status 2), any other about the machine
  // (1). `proxy_url`: PROXYVPN_PROXY_URL, which is no longer in the environment; a secret. The
  // action may refer to this object, which lives as long as it does.
  virtual Result<Action> action(std::optional<std::string> proxy_url) = 0;
};

struct SubcommandEntry {
  const char* name;
  const char* description;  // one line, without a full stop
  std::unique_ptr<Subcommand> (*make)();
};

// In the order of the help.
std::span<const SubcommandEntry> subcommands();

}  // namespace proxyvpn::app
