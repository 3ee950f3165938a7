#pragma once
// `proxyvpn status --watch`: the state, its rates and the busiest flows, once a second, until q,
// Ctrl-C or SIGTERM. Where standard output is no terminal: the status again and again, as text or
// as a line of JSON each.
#include "app/config.h"

namespace proxyvpn::app {

int run_watch(const Config& config, bool json);

}  // namespace proxyvpn::app
