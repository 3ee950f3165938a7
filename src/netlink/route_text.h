#pragma once
// Any route of the machine as `ip route show table all` prints it. Inside this room only.
#include <functional>
#include <string>

#include "netlink/message.h"

namespace proxyvpn::netlink {

using DeviceName = std::function<std::string(std::uint32_t index)>;

// Empty for a message that is no IPv4 or IPv6 route, for cached routes, and for routes of the
// tables local, main and default. "unreachable default table 28790 proto 112 metric 100". Left out:
// encapsulation, metrics such as mtu, and times of expiry.
std::string foreign_table_route_text(const nlmsghdr* message, const DeviceName& device_name);

}  // namespace proxyvpn::netlink
