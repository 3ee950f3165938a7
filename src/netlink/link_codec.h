#pragma once
// Links and addresses: what the kernel lists, and how a TUN device becomes ours. Inside this room
// only.
#include <optional>
#include <string>

#include "netlink/netlink_socket.h"
#include "netlink/routing.h"

namespace proxyvpn::netlink {

struct ListedLink {
  LinkInfo info;
  std::uint32_t mtu = 0;
  std::string alias;
  bool is_tun = false;  // kind "tun" and not a TAP device
};
// Empty for a message that is no link; bridge ports (AF_BRIDGE) are none.
std::optional<ListedLink> parse_link(const nlmsghdr* message);
std::optional<AddressInfo> parse_address(const nlmsghdr* message);

// RTM_GETLINK, RTM_GETADDR for all.
Message link_listing();
Message address_listing();

// Empty when there is no link of this name.
Result<std::optional<ListedLink>> find_link(NetlinkSocket& socket, const std::string& name);
// See Routing.
Result<> set_up_link(NetlinkSocket& socket, const LinkSetup& setup);
Result<> remove_our_tun(NetlinkSocket& socket, const std::string& name);

}  // namespace proxyvpn::netlink
