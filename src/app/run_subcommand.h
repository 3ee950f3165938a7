#pragma once
// `proxyvpn run [OPTIONS] -- COMMAND`: its options, and the checks of what was typed.
#include <memory>

#include "app/subcommand.h"

namespace proxyvpn::app {

std::unique_ptr<Subcommand> make_run();

}  // namespace proxyvpn::app
