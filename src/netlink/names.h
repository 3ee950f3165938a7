#pragma once
// Numbers of rtnetlink(7) in iproute2's words. Inside this room only.
#include <cstdint>
#include <string>

#include "base/ip.h"

namespace proxyvpn::netlink {

// "main", "28790"
std::string table_name(std::uint32_t table);
// RTPROT_*: "kernel", "dhcp", "112"
std::string protocol_name(std::uint8_t protocol);
// "ip " or "ip -6 "
const char* ip_command(Family family) noexcept;

}  // namespace proxyvpn::netlink
