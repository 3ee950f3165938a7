#pragma once
// The options of commands that look at a daemon from outside: where it is and how the packet filter
// is read when it is not.
#include <optional>
#include <string>

#include "app/config.h"
#include "base/error.h"

namespace CLI {
class App;
}  // namespace CLI

namespace proxyvpn::app {

struct ClientFlags {
  std::optional<std::string> config;
  std::optional<std::string> state_dir;
  std::string firewall = "auto";
};

// Keeps references to `flags`, which must outlive the parse.
void define_client(CLI::App& app, ClientFlags& flags);
Result<Config> to_config(const ClientFlags& flags);

}  // namespace proxyvpn::app
