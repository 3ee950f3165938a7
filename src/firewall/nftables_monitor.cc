#include "firewall/nftables_monitor.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace proxyvpn::firewall {
namespace {

constexpr std::size_t kBuffer = std::size_t{64} * 1024;
constexpr int kReadsAtOnce = 256;  // the rest at the next turn of the loop

bool concerns(const nlmsghdr* message, std::initializer_list<std::string_view> tables,
              std::uint32_t own_port) {
  if (message->nlmsg_pid == own_port || message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
    return false;
  if ((message->nlmsg_type & 0xff) == NFT_MSG_NEWGEN) return false;
  if (mnl_nlmsg_get_payload_len(message) < sizeof(nfgenmsg)) return false;
  // The name of the table is attribute 1 of every kind of object (NFTA_TABLE_NAME,
  // NFTA_RULE_TABLE, ...).
  for (const nlattr* attribute =
           static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(message, sizeof(nfgenmsg)));
       mnl_attr_ok(attribute,
                   static_cast<int>(static_cast<const char*>(mnl_nlmsg_get_payload_tail(message)) -
                                    reinterpret_cast<const char*>(attribute)));
       attribute = mnl_attr_next(attribute)) {
    if (mnl_attr_get_type(attribute) != NFTA_TABLE_NAME) continue;
    return mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0 &&
           std::find(tables.begin(), tables.end(), mnl_attr_get_str(attribute)) != tables.end();
  }
  return false;
}

}  // namespace

Result<NftablesMonitor> NftablesMonitor::open() {
  mnl_socket* raw = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (raw == nullptr)
    return fail_errno(errno, "cannot open a netlink socket to watch the firewall");
  NftablesMonitor monitor(raw);
  if (mnl_socket_bind(raw, 0, MNL_SOCKET_AUTOPID) < 0)
    return fail_errno(errno, "cannot bind a netlink socket to watch the firewall");
  int group = NFNLGRP_NFTABLES;
  if (mnl_socket_setsockopt(raw, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
    return fail_errno(errno, "cannot watch the firewall for changes");
  return monitor;
}

bool NftablesMonitor::drain(std::initializer_list<std::string_view> tables,
                            std::uint32_t own_port) noexcept {
  static thread_local std::array<char, kBuffer> buffer;
  bool touched = false;
  for (int reads = 0; reads < kReadsAtOnce; ++reads) {
    const ssize_t got = ::recv(fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    // An overrun lost messages: any of them may have been about us. The socket works on.
    if (got < 0 && errno == ENOBUFS) {
      touched = true;
      continue;
    }
    if (got <= 0) break;
    int length = static_cast<int>(got);
    for (const auto* message = static_cast<const nlmsghdr*>(static_cast<void*>(buffer.data()));
         mnl_nlmsg_ok(message, length); message = mnl_nlmsg_next(message, &length))
      touched = touched || concerns(message, tables, own_port);
  }
  return touched;
}

}  // namespace proxyvpn::firewall
