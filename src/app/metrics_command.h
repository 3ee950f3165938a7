#pragma once
// `proxyvpn metrics`: once what --metrics serves.
#include <memory>

#include "app/subcommand.h"

namespace proxyvpn::app {

std::unique_ptr<Subcommand> make_metrics_command();

}  // namespace proxyvpn::app
