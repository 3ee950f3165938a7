#pragma once
// `proxyvpn exec --direct -- COMMAND`: one command outside of the tunnel while it is up.
#include <memory>

#include "app/subcommand.h"

namespace proxyvpn::app {

std::unique_ptr<Subcommand> make_exec();

}  // namespace proxyvpn::app
