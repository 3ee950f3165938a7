#pragma once
// --dry-run: what `up` would do, in order, as commands that can be pasted into a root shell. Pure.
#include <string>
#include <vector>

#include "app/config.h"
#include "app/host_facts.h"
#include "app/lifecycle.h"
#include "netlink/sock_diag.h"

namespace proxyvpn::app {

// The machine's own TCP sockets at this moment, for the sessions that are kept and the connections
// that are cut.
struct SocketFacts {
  std::vector<netlink::TcpSocket> connected;
  std::vector<Endpoint> listeners;
};
// Needs no privilege; empty where the kernel does not tell.
SocketFacts read_socket_facts();

// Lines of comment start with '#'. The password is not in it. Rules are those of the nftables back
// ends; with iptables forced, the comment says so.
std::string dry_run_text(const Config& config, const HostPlan& plan,
                         const std::vector<Endpoint>& proxies, const SocketFacts& sockets);

}  // namespace proxyvpn::app
