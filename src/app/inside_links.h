#pragma once
// Which of the machine's links lead to guests of its own (containers, virtual machines), and which
// lead out. Pure: from what rtnetlink(7) says of the links.
#include <string>
#include <vector>

#include "netlink/routing.h"

namespace proxyvpn::app {

// Bridges that no packet leaves the machine through: every port is the end of a guest (veth, tap),
// or there is none, and no default route points at them (docker0, virbr0, a bridge made by hand).
// Host and guests talk over them directly.
std::vector<netlink::LinkInfo> inside_links(const netlink::Snapshot& network);
std::vector<std::string> inside_link_names(const netlink::Snapshot& network);
// The networks of their addresses.
std::vector<Cidr> inside_networks(const netlink::Snapshot& network);

// For --egress-guard: hardware and what carries a default route. `ports`: those among them that are
// ports of a bridge; the bridge itself is not in the list, its port is. `tun_name` is never there.
struct Uplinks {
  std::vector<std::string> links;
  std::vector<std::string> ports;
};
Uplinks uplinks(const netlink::Snapshot& network, const std::string& tun_name);

// Guests whose packets the machine's own packet filter never sees: macvlan and ipvlan devices, and
// guests on a bridge that has a way out. Names of the links, for a warning.
std::vector<std::string> unseen_guests(const netlink::Snapshot& network);

}  // namespace proxyvpn::app
