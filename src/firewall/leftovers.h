#pragma once
// What a crashed run with another back end left behind must not stay when this one is asked to
// remove everything, and must not filter beside it.
#include <memory>

#include "firewall/firewall.h"

namespace proxyvpn::firewall {

// The same back end; presence() sees, and install() (after its own rules are in force) and
// remove() take away, what others left. Other commands are run only when netlink or /proc/net show
// that there is something of theirs.
std::unique_ptr<Firewall> with_leftovers(std::unique_ptr<Firewall> own, Backend backend);

}  // namespace proxyvpn::firewall
