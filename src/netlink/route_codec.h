#pragma once
// Default routes of ours as messages, and what is asked of the routes that the kernel lists. Inside
// this room only.
#include <cstdint>
#include <optional>

#include "netlink/message.h"
#include "netlink/plan.h"

namespace proxyvpn::netlink {

inline constexpr std::uint32_t kAnyTable = 0;
inline constexpr std::uint8_t kAnyProtocol = 0;

// RTM_NEWROUTE or RTM_DELROUTE; `device` is the index of route.device, 0 for an unreachable route.
Message route_message(const Route& route, std::uint32_t device, int type, int flags);
// RTM_GETROUTE. Kernels before 4.20 don't filter: look at what comes.
Message route_listing(Family family, std::uint32_t table, std::uint8_t protocol);

struct ListedRoute {
  Family family = Family::V4;
  std::uint8_t type = 0;  // RTN_*
  std::uint8_t protocol = 0;
  unsigned prefix = 0;
  std::uint32_t table = 0;
  std::uint32_t metric = 0;
  std::uint32_t device = 0;  // 0 for none and for several next hops
  bool via = false;          // by a gateway, a next-hop object or several next hops
};
// Empty for a message that is no IPv4 or IPv6 route, and for cached routes.
std::optional<ListedRoute> parse_route(const nlmsghdr* message);
// The listed route takes the place of `route` in its table: same destination and metric.
bool same_place(const ListedRoute& listed, const Route& route);
// ... and it is `route` itself, made by us. `device` as above.
bool same_route(const ListedRoute& listed, const Route& route, std::uint32_t device);

}  // namespace proxyvpn::netlink
