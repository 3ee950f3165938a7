#pragma once
// `proxyvpn flows` and `proxyvpn flows kill ID`.
#include <memory>

#include "app/subcommand.h"

namespace proxyvpn::app {

std::unique_ptr<Subcommand> make_flows_command();

}  // namespace proxyvpn::app
