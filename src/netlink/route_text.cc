#include "netlink/route_text.h"

#include <linux/rtnetlink.h>

#include <algorithm>

#include "netlink/names.h"

namespace proxyvpn::netlink {
namespace {

using RouteAttributes = Attributes<RTA_MAX>;

struct NumberName {
  unsigned value;
  const char* text;
};

template <std::size_t N>
std::string name_of(const NumberName (&names)[N], unsigned value) {
  const auto* known =
      std::find_if(names, names + N, [=](const NumberName& name) { return name.value == value; });
  return known != names + N ? known->text : std::to_string(value);
}

constexpr int kFamilySize = sizeof(std::uint16_t);  // in front of the address of RTA_VIA
constexpr NumberName kTypes[] = {
    {RTN_LOCAL, "local"},         {RTN_BROADCAST, "broadcast"}, {RTN_ANYCAST, "anycast"},
    {RTN_MULTICAST, "multicast"}, {RTN_BLACKHOLE, "blackhole"}, {RTN_UNREACHABLE, "unreachable"},
    {RTN_PROHIBIT, "prohibit"},   {RTN_THROW, "throw"},         {RTN_NAT, "nat"}};
constexpr NumberName kScopes[] = {{RT_SCOPE_SITE, "site"},
                                  {RT_SCOPE_LINK, "link"},
                                  {RT_SCOPE_HOST, "host"},
                                  {RT_SCOPE_NOWHERE, "nowhere"}};
constexpr NumberName kPreferences[] = {{0, "medium"}, {1, "high"}, {3, "low"}};

std::string destination_text(const std::optional<IpAddress>& address, unsigned length) {
  if (!address) return length == 0 ? std::string("default") : "0/" + std::to_string(length);
  return length == address->bits() ? to_string(*address)
                                   : to_string(*address) + "/" + std::to_string(length);
}

// The gateway may be of the other family (RTA_VIA: a family and its bytes).
std::string gateway_text(const RouteAttributes& attributes, int family) {
  if (const auto gateway = attributes.address(RTA_GATEWAY, family))
    return " via " + to_string(*gateway);
  const nlattr* via = attributes.get(RTA_VIA);
  if (via == nullptr || nla_len(via) != kFamilySize + 16) return {};
  const auto* bytes = static_cast<const std::uint8_t*>(nla_data(via)) + kFamilySize;
  return " via inet6 " + to_string(IpAddress::v6(std::span<const std::uint8_t, 16>(bytes, 16)));
}

std::string flags_text(unsigned flags) {
  std::string text;
  if ((flags & RTNH_F_DEAD) != 0) text += " dead";
  if ((flags & RTNH_F_ONLINK) != 0) text += " onlink";
  if ((flags & RTNH_F_PERVASIVE) != 0) text += " pervasive";
  if ((flags & RTNH_F_LINKDOWN) != 0) text += " linkdown";
  return text;
}

// " nexthop via 192.0.2.1 dev eth0 weight 1" for each hop. iproute2 puts each on a line of its own.
std::string hops_text(const nlattr* hops, int family, const DeviceName& device_name) {
  std::string text;
  if (hops == nullptr) return text;
  const auto* hop = static_cast<const rtnexthop*>(nla_data(hops));
  auto left = static_cast<unsigned>(nla_len(hops));
  while (left >= sizeof(rtnexthop) && hop->rtnh_len >= sizeof(rtnexthop) && hop->rtnh_len <= left) {
    const RouteAttributes attributes(reinterpret_cast<const nlattr*>(hop + 1),
                                     hop->rtnh_len - sizeof(rtnexthop));
    text += " nexthop" + gateway_text(attributes, family);
    text += " dev " + device_name(static_cast<std::uint32_t>(hop->rtnh_ifindex));
    text += " weight " + std::to_string(hop->rtnh_hops + 1) + flags_text(hop->rtnh_flags);
    const unsigned step = (hop->rtnh_len + 3U) & ~3U;  // RTNH_ALIGN
    if (step >= left) break;
    left -= step;
    hop = reinterpret_cast<const rtnexthop*>(reinterpret_cast<const char*>(hop) + step);
  }
  return text;
}

std::string path_text(const RouteAttributes& attributes, int family,
                      const DeviceName& device_name) {
  std::string text;
  if (const auto id = attributes.u32(RTA_NH_ID)) text += " nhid " + std::to_string(*id);
  text += gateway_text(attributes, family);
  if (const auto device = attributes.u32(RTA_OIF)) text += " dev " + device_name(*device);
  return text;
}

}  // namespace

std::string foreign_table_route_text(const nlmsghdr* message, const DeviceName& device_name) {
  const rtmsg* header = header_of<rtmsg>(message);
  if (header == nullptr || (header->rtm_flags & RTM_F_CLONED) != 0) return {};
  const int family = header->rtm_family;
  if (family != AF_INET && family != AF_INET6) return {};
  const RouteAttributes attributes(message, sizeof(rtmsg));
  const auto table = attributes.u32(RTA_TABLE).value_or(header->rtm_table);
  if (table == RT_TABLE_LOCAL || table == RT_TABLE_MAIN || table == RT_TABLE_DEFAULT) return {};

  std::string text;
  if (header->rtm_type != RTN_UNICAST) text += name_of(kTypes, header->rtm_type) + " ";
  text += destination_text(attributes.address(RTA_DST, family), header->rtm_dst_len);
  if (header->rtm_src_len != 0 || attributes.get(RTA_SRC) != nullptr)
    text += " from " + destination_text(attributes.address(RTA_SRC, family), header->rtm_src_len);
  text += path_text(attributes, family, device_name) + " table " + std::to_string(table);
  if (header->rtm_protocol != RTPROT_BOOT) text += " proto " + protocol_name(header->rtm_protocol);
  if (header->rtm_scope != RT_SCOPE_UNIVERSE)
    text += " scope " + name_of(kScopes, header->rtm_scope);
  if (const auto source = attributes.address(RTA_PREFSRC, family))
    text += " src " + to_string(*source);
  if (const auto metric = attributes.u32(RTA_PRIORITY))
    text += " metric " + std::to_string(*metric);
  text += flags_text(header->rtm_flags);
  if (const auto info = attributes.value<rta_cacheinfo>(RTA_CACHEINFO);
      info && info->rta_error != 0)
    text += " error " + std::to_string(info->rta_error);
  text += hops_text(attributes.get(RTA_MULTIPATH), family, device_name);
  if (const auto preference = attributes.u8(RTA_PREF))
    text += " pref " + name_of(kPreferences, *preference);
  return text;
}

}  // namespace proxyvpn::netlink
