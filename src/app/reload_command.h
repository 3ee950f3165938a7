#pragma once
// `proxyvpn reload`
#include <memory>

#include "app/subcommand.h"

namespace proxyvpn::app {

std::unique_ptr<Subcommand> make_reload();

}  // namespace proxyvpn::app
