#include "netlink/route_codec.h"

#include <linux/rtnetlink.h>

namespace proxyvpn::netlink {
namespace {

constexpr std::uint32_t kDefaultMetric6 = 1024;  // IP6_RT_PRIO_USER: what 0 becomes in the kernel

std::uint8_t af(Family family) { return family == Family::V6 ? AF_INET6 : AF_INET; }

std::uint8_t kernel_type(RouteType type) {
  switch (type) {
    case RouteType::Unicast:
      return RTN_UNICAST;
    case RouteType::Unreachable:
      return RTN_UNREACHABLE;
    case RouteType::Local:
      return RTN_LOCAL;
  }
  return RTN_UNSPEC;
}

std::uint8_t kernel_scope(RouteType type) {
  switch (type) {
    case RouteType::Unicast:
      return RT_SCOPE_LINK;
    case RouteType::Unreachable:
      return RT_SCOPE_UNIVERSE;
    case RouteType::Local:
      return RT_SCOPE_HOST;
  }
  return RT_SCOPE_UNIVERSE;
}

std::uint32_t kernel_metric(const Route& route) {
  return route.family == Family::V6 && route.metric == 0 ? kDefaultMetric6 : route.metric;
}

// The 8 bit field of the header says RT_TABLE_COMPAT when the number is in RTA_TABLE.
std::uint8_t header_table(std::uint32_t table) {
  return table < 256 ? static_cast<std::uint8_t>(table) : std::uint8_t{RT_TABLE_COMPAT};
}

}  // namespace

Message route_message(const Route& route, std::uint32_t device, int type, int flags) {
  rtmsg header{};
  header.rtm_family = af(route.family);
  header.rtm_table = header_table(route.table);
  header.rtm_protocol = kProtocolId;
  header.rtm_type = kernel_type(route.type);
  header.rtm_scope = type == RTM_DELROUTE ? std::uint8_t{RT_SCOPE_NOWHERE}  // any
                                          : kernel_scope(route.type);
  Message message(type, flags);
  message.header(header).put_u32(RTA_TABLE, route.table);
  if (kernel_metric(route) != 0) message.put_u32(RTA_PRIORITY, kernel_metric(route));
  if (device != 0) message.put_u32(RTA_OIF, device);
  return message;
}

Message route_listing(Family family, std::uint32_t table, std::uint8_t protocol) {
  rtmsg header{};
  header.rtm_family = af(family);
  header.rtm_protocol = protocol;
  Message message(RTM_GETROUTE, 0);
  message.header(header);
  if (table != kAnyTable) message.put_u32(RTA_TABLE, table);
  return message;
}

std::optional<ListedRoute> parse_route(const nlmsghdr* message) {
  const rtmsg* header = header_of<rtmsg>(message);
  if (header == nullptr || (header->rtm_flags & RTM_F_CLONED) != 0) return {};
  // A kernel without IPv6 answers a listing of IPv6 with what other families have.
  if (header->rtm_family != AF_INET && header->rtm_family != AF_INET6) return {};
  const Attributes<RTA_MAX> attributes(message, sizeof(rtmsg));
  ListedRoute route;
  route.family = header->rtm_family == AF_INET6 ? Family::V6 : Family::V4;
  route.type = header->rtm_type;
  route.protocol = header->rtm_protocol;
  route.prefix = header->rtm_dst_len;
  route.table = attributes.u32(RTA_TABLE).value_or(header->rtm_table);
  route.metric = attributes.u32(RTA_PRIORITY).value_or(0);
  route.device = attributes.u32(RTA_OIF).value_or(0);
  for (const int hop : {RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH, RTA_NH_ID, RTA_ENCAP})
    if (attributes.get(hop) != nullptr) route.via = true;
  return route;
}

bool same_place(const ListedRoute& listed, const Route& route) {
  return listed.family == route.family && listed.table == route.table && listed.prefix == 0 &&
         listed.metric == kernel_metric(route);
}

bool same_route(const ListedRoute& listed, const Route& route, std::uint32_t device) {
  if (!same_place(listed, route) || listed.protocol != kProtocolId || listed.via) return false;
  if (listed.type != kernel_type(route.type)) return false;
  // IPv6 lists an unreachable route as one of `lo`.
  return route.type == RouteType::Unreachable || listed.device == device;
}

}  // namespace proxyvpn::netlink
