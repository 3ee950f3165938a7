#include "netlink/link_codec.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet.h>
#include <netlink/route/link/inet6.h>

#include <cerrno>
#include <memory>

#include "base/unique_fd.h"

namespace proxyvpn::netlink {
namespace {

struct FreeLink {
  void operator()(rtnl_link* link) const noexcept { rtnl_link_put(link); }
};
struct FreeAddress {
  void operator()(rtnl_addr* address) const noexcept { rtnl_addr_put(address); }
};
struct FreePlainAddress {
  void operator()(nl_addr* address) const noexcept { nl_addr_put(address); }
};
using LinkHandle = std::unique_ptr<rtnl_link, FreeLink>;
using AddressHandle = std::unique_ptr<rtnl_addr, FreeAddress>;
using PlainAddress = std::unique_ptr<nl_addr, FreePlainAddress>;

constexpr std::uint32_t kLoose = 2;  // rp_filter: any source that has a route at all

std::optional<std::string> kind_of(const Attributes<IFLA_INFO_MAX>& info) {
  return info.get(IFLA_INFO_KIND) == nullptr ? std::nullopt
                                             : std::optional(info.text(IFLA_INFO_KIND));
}

// IFLA_TUN_TYPE came with Linux 4.20; before it, any "tun" will do.
bool is_tun(const Attributes<IFLA_INFO_MAX>& info) {
  if (kind_of(info).value_or("") != "tun") return false;
  if (info.get(IFLA_INFO_DATA) == nullptr) return true;
  const Attributes<IFLA_TUN_MAX> data(info.get(IFLA_INFO_DATA));
  return data.u8(IFLA_TUN_TYPE).value_or(IFF_TUN) == IFF_TUN;
}

// A pair of links points at each other with IFLA_LINK; that is no stacking.
bool is_pair(const std::string& kind) { return kind == "veth" || kind == "netkit"; }

ifinfomsg link_header(std::uint32_t index) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = static_cast<int>(index);
  return header;
}

bool without_ipv6(const Error& error) {
  return error.sys_errno == EAFNOSUPPORT || error.sys_errno == EOPNOTSUPP;
}

Error no_memory(const std::string& doing) {
  return {Code::System, ENOMEM, doing + ": out of memory"};
}

LinkHandle link_of(std::uint32_t index) {
  LinkHandle link(rtnl_link_alloc());
  if (link) rtnl_link_set_ifindex(link.get(), static_cast<int>(index));
  return link;
}

// What libnl-route made of a request, or why it made none.
Result<Message> built(int result, nl_msg* message, const std::string& doing) {
  if (result < 0) return fail(Code::System, doing + ": " + nl_geterror(result));
  return Message(message);
}

Result<> change(NetlinkSocket& socket, std::uint32_t index, const LinkHandle& changes,
                const std::string& doing) {
  const LinkHandle link = link_of(index);
  if (!link || !changes) return tl::unexpected(no_memory(doing));
  nl_msg* raw = nullptr;
  const int result = rtnl_link_build_change_request(link.get(), changes.get(), 0, &raw);
  auto message = built(result, raw, doing);
  if (!message) return tl::unexpected(message.error());
  return socket.request(*message, doing);
}

Result<> set_up_ipv4(NetlinkSocket& socket, const LinkSetup& setup, std::uint32_t index) {
  const LinkHandle changes(rtnl_link_alloc());
  if (changes) {
    rtnl_link_set_ifalias(changes.get(), kLinkAlias);
    rtnl_link_set_mtu(changes.get(), setup.mtu);
    rtnl_link_set_txqlen(changes.get(), setup.tx_queue_length);
    rtnl_link_inet_set_conf(changes.get(), IPV4_DEVCONF_RP_FILTER, kLoose);
  }
  return change(socket, index, changes,
                "ip link set dev " + setup.name + " alias " + kLinkAlias + " mtu " +
                    std::to_string(setup.mtu) + " txqueuelen " +
                    std::to_string(setup.tx_queue_length) + ", rp_filter 2");
}

// No link-local address, no router solicitations into the tunnel.
Result<> set_up_ipv6(NetlinkSocket& socket, const LinkSetup& setup, std::uint32_t index) {
  const LinkHandle changes(rtnl_link_alloc());
  if (changes) rtnl_link_inet6_set_addr_gen_mode(changes.get(), IN6_ADDR_GEN_MODE_NONE);
  auto result =
      change(socket, index, changes, "ip link set dev " + setup.name + " addrgenmode none");
  if (!result && without_ipv6(result.error())) return {};
  // Netlink has no place for accept_ra. It is a second lock only: no one but us writes packets into
  // the device, so a read-only /proc is no reason to fail.
  const std::string path = "/proc/sys/net/ipv6/conf/" + setup.name + "/accept_ra";
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file && ::write(file.get(), "0", 1) != 1) return result;
  return result;
}

Result<> add_address(NetlinkSocket& socket, const Cidr& cidr, const std::string& device,
                     std::uint32_t index) {
  const std::string doing = "ip address add " + to_string(cidr) + " dev " + device;
  const auto bytes = cidr.address.bytes();
  const PlainAddress plain(nl_addr_build(cidr.address.af(), bytes.data(), bytes.size()));
  const AddressHandle address(rtnl_addr_alloc());
  if (!plain || !address) return tl::unexpected(no_memory(doing));
  rtnl_addr_set_ifindex(address.get(), static_cast<int>(index));
  rtnl_addr_set_local(address.get(), plain.get());
  rtnl_addr_set_prefixlen(address.get(), static_cast<int>(cidr.prefix));
  if (cidr.address.is_v6()) rtnl_addr_set_flags(address.get(), IFA_F_NODAD);  // usable at once
  nl_msg* raw = nullptr;
  const int made = rtnl_addr_build_add_request(address.get(), NLM_F_CREATE | NLM_F_REPLACE, &raw);
  auto message = built(made, raw, doing);
  if (!message) return tl::unexpected(message.error());
  message->put_u8(IFA_PROTO, kProtocolId);  // Linux 5.18; older kernels pass over it
  auto result = socket.request(*message, doing);
  if (!result && result.error().sys_errno == EEXIST) return {};
  // EACCES: net.ipv6.conf.<device>.disable_ipv6. Want of a capability is EPERM.
  if (!result && cidr.address.is_v6() &&
      (without_ipv6(result.error()) || result.error().sys_errno == EACCES)) {
    result.error().code = Code::Unsupported;
  }
  return result;
}

Result<> bring_up(NetlinkSocket& socket, const std::string& name, std::uint32_t index) {
  const LinkHandle changes(rtnl_link_alloc());
  if (changes) rtnl_link_set_flags(changes.get(), IFF_UP);
  return change(socket, index, changes, "ip link set dev " + name + " up");
}

}  // namespace

std::optional<ListedLink> parse_link(const nlmsghdr* message) {
  const ifinfomsg* header = header_of<ifinfomsg>(message);
  if (header == nullptr || header->ifi_family != AF_UNSPEC) return {};
  const Attributes<IFLA_MAX> attributes(message, sizeof(ifinfomsg));
  ListedLink link;
  link.info.index = static_cast<std::uint32_t>(header->ifi_index);
  link.info.name = attributes.text(IFLA_IFNAME);
  link.info.up = (header->ifi_flags & IFF_UP) != 0;
  link.info.loopback = (header->ifi_flags & IFF_LOOPBACK) != 0;
  link.info.master = attributes.u32(IFLA_MASTER).value_or(0);
  link.mtu = attributes.u32(IFLA_MTU).value_or(0);
  link.alias = attributes.text(IFLA_IFALIAS);
  if (const nlattr* nested = attributes.get(IFLA_LINKINFO); nested != nullptr) {
    const Attributes<IFLA_INFO_MAX> info(nested);
    link.info.kind = kind_of(info).value_or("");
    link.is_tun = is_tun(info);
  }
  const std::uint32_t lower = attributes.u32(IFLA_LINK).value_or(0);
  link.info.has_lower = lower != 0 && !is_pair(link.info.kind) &&
                        (lower != link.info.index || attributes.get(IFLA_LINK_NETNSID) != nullptr);
  return link;
}

std::optional<AddressInfo> parse_address(const nlmsghdr* message) {
  const ifaddrmsg* header = header_of<ifaddrmsg>(message);
  if (header == nullptr) return {};
  if (header->ifa_family != AF_INET && header->ifa_family != AF_INET6) return {};
  const Attributes<IFA_MAX> attributes(message, sizeof(ifaddrmsg));
  // IFA_ADDRESS is the peer's on a point-to-point link, and the only one that IPv6 gives otherwise.
  auto address = attributes.address(IFA_LOCAL, header->ifa_family);
  if (!address) address = attributes.address(IFA_ADDRESS, header->ifa_family);
  if (!address) return {};
  return AddressInfo{header->ifa_index, Cidr{*address, header->ifa_prefixlen}};
}

Message link_listing() {
  Message message(RTM_GETLINK, 0);
  message.header(link_header(0)).put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return message;
}

Message address_listing() {
  ifaddrmsg header{};
  header.ifa_family = AF_UNSPEC;
  Message message(RTM_GETADDR, 0);
  message.header(header);
  return message;
}

Result<std::optional<ListedLink>> find_link(NetlinkSocket& socket, const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ)
    return fail(Code::InvalidArgument,
                "\"" + name + "\" is no name for a network device: it must " + "have 1 to " +
                    std::to_string(IFNAMSIZ - 1) + " characters");
  Message message(RTM_GETLINK, 0);
  message.header(link_header(0))
      .put_string(IFLA_IFNAME, name)
      .put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  std::optional<ListedLink> link;
  const auto result =
      socket.request(message, "ip link show dev " + name,
                     [&link](const nlmsghdr* answer) { link = parse_link(answer); });
  if (!result && result.error().code != Code::NotFound) return tl::unexpected(result.error());
  return link;
}

Result<> set_up_link(NetlinkSocket& socket, const LinkSetup& setup) {
  const auto link = find_link(socket, setup.name);
  if (!link) return tl::unexpected(link.error());
  if (!*link) return fail_errno(ENODEV, "setting up the device " + setup.name);
  const std::uint32_t index = (*link)->info.index;
  if (auto result = set_up_ipv4(socket, setup, index); !result) return result;
  if (auto result = set_up_ipv6(socket, setup, index); !result) return result;
  Result<> addresses;
  for (const Cidr& cidr : setup.addresses) {
    auto result = add_address(socket, cidr, setup.name, index);
    if (!result && result.error().code != Code::Unsupported) return result;
    if (!result) addresses = std::move(result);
  }
  if (auto result = bring_up(socket, setup.name, index); !result) return result;
  return addresses;
}

Result<> remove_our_tun(NetlinkSocket& socket, const std::string& name) {
  const auto link = find_link(socket, name);
  if (!link) return tl::unexpected(link.error());
  if (!*link) return {};
  if (!(*link)->is_tun || (*link)->alias != kLinkAlias)
    return fail(Code::Exists, "ip link del dev " + name + ": this device is not proxyvpn's (" +
                                  ((*link)->is_tun ? "a TUN device" : "no TUN device") +
                                  ", alias \"" + (*link)->alias + "\"); it is left alone");
  const std::string doing = "ip link del dev " + name;
  const LinkHandle handle = link_of((*link)->info.index);
  if (!handle) return tl::unexpected(no_memory(doing));
  nl_msg* raw = nullptr;
  const int made = rtnl_link_build_delete_request(handle.get(), &raw);
  auto message = built(made, raw, doing);
  if (!message) return tl::unexpected(message.error());
  auto result = socket.request(*message, doing);
  if (!result && result.error().code == Code::NotFound) return {};
  return result;
}

}  // namespace proxyvpn::netlink
