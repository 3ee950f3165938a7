#pragma once
// `proxyvpn status`, and the one way to ask for it.
#include <memory>

#include "app/config.h"
#include "app/status.h"
#include "app/subcommand.h"
#include "base/error.h"

namespace proxyvpn::app {

std::unique_ptr<Subcommand> make_status_command();

// From the daemon, or, where none is, from the kernel's state. Waits some seconds at most.
// Code::Permission when this user may not ask.
Result<Status> read_status(const Config& config);

}  // namespace proxyvpn::app
