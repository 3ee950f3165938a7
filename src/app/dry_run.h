#pragma once
// --dry-run: what `up` would do, in order, as commands that can be pasted into a root shell. Pure.
#include <string>
#include <vector>

#include "app/config.h"
#include "app/host_facts.h"
#include "app/lifecycle.h"

namespace proxyvpn::app {

// Those of this moment. Needs no privilege; empty where the kernel does not tell.
MachineSockets read_sockets();

// Lines of comment start with '#'. The password is not in it. Rules are those of the nftables back
// ends; with iptables forced, the comment says so. `sockets`: sessions that are kept and
// connections that are cut.
std::string dry_run_text(const Config& config, const HostPlan& plan,
                         const std::vector<Endpoint>& proxies, const MachineSockets& sockets);

}  // namespace proxyvpn::app
