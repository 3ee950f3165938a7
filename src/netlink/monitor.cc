// Monitor over RTNLGRP_* multicast groups.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "netlink/link_codec.h"
#include "netlink/netlink_socket.h"
#include "netlink/routing.h"

namespace proxyvpn::netlink {
namespace {

constexpr int kMessagesPerDrain = 512;
constexpr std::size_t kBuffer = 65536;
// Room for a storm of events between two turns of the loop; net.core.rmem_max may cut it. What
// doesn't fit is reported as an overrun, so nothing depends on it.
constexpr int kReceiveQueue = 1 << 20;

// Of a link: up, and with a carrier.
constexpr unsigned kStateFlags = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;

constexpr int kGroups[] = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                           RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
                           RTNLGRP_IPV6_RULE};

// Where the filter looks: message type, destination's prefix length, protocol.
constexpr auto kType = static_cast<std::uint32_t>(offsetof(nlmsghdr, nlmsg_type));
constexpr auto kPrefix =
    static_cast<std::uint32_t>(sizeof(nlmsghdr) + offsetof(rtmsg, rtm_dst_len));
constexpr auto kProtocol =
    static_cast<std::uint32_t>(sizeof(nlmsghdr) + offsetof(rtmsg, rtm_protocol));

// Notifications have one message each. The classic BPF machine loads in network order, messages are
// in the machine's. Accepts everything but a route that is neither a default route nor ours.
Result<> attach_filter(int fd) {
  std::array<sock_filter, 9> code = {{
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kType),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELROUTE), 0, 4),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kPrefix),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kProtocol),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kProtocolId, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  }};
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
    return fail_errno(errno, "setsockopt(SO_ATTACH_FILTER) on the network monitor");
  return {};
}

class LibnlMonitor final : public Monitor {
 public:
  explicit LibnlMonitor(SocketHandle socket) : socket_(std::move(socket)), buffer_(kBuffer) {}

  [[nodiscard]] int fd() const noexcept override { return nl_socket_get_fd(socket_.get()); }
  Changes drain() noexcept override;

 private:
  // What makes a link another link to us.
  struct LinkState {
    std::string name;
    std::uint32_t mtu = 0;
    std::uint32_t master = 0;
    unsigned flags = 0;
    friend bool operator==(const LinkState&, const LinkState&) = default;
  };

  void note(const nlmsghdr* message, Changes& changes);
  bool link_changed(const nlmsghdr* message);
  Changes overrun();

  SocketHandle socket_;
  std::vector<std::uint8_t> buffer_;
  std::unordered_map<std::uint32_t, LinkState> links_;  // as many as the machine has links
};

bool LibnlMonitor::link_changed(const nlmsghdr* message) {
  const auto link = parse_link(message);
  if (!link) return false;  // a bridge's word on a port
  if (message->nlmsg_type == RTM_DELLINK) {
    links_.erase(link->info.index);
    return true;
  }
  LinkState state{link->info.name, link->mtu, link->info.master,
                  header_of<ifinfomsg>(message)->ifi_flags & kStateFlags};
  LinkState& known = links_[link->info.index];
  if (known == state) return false;
  known = std::move(state);
  return true;
}

void LibnlMonitor::note(const nlmsghdr* message, Changes& changes) {
  switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      if (link_changed(message)) changes.links = true;
      break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
      changes.addresses = true;
      break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      changes.routes = true;
      break;
    case RTM_NEWRULE:
    case RTM_DELRULE:
      changes.rules = true;
      break;
    default:
      break;
  }
}

Monitor::Changes LibnlMonitor::overrun() {
  links_.clear();
  return {true, true, true, true};
}

Monitor::Changes LibnlMonitor::drain() noexcept {
  Changes changes;
  bool lost = false;
  for (int count = 0; count < kMessagesPerDrain; ++count) {
    sockaddr_nl from{};
    socklen_t length = sizeof from;
    const ssize_t got = ::recvfrom(fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC,
                                   reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno != ENOBUFS) break;  // EAGAIN: nothing more
    if (got < 0 || static_cast<std::size_t>(got) > buffer_.size()) {
      lost = true;
      continue;
    }
    if (from.nl_pid != 0) continue;  // not from the kernel
    int left = static_cast<int>(got);
    auto* message = reinterpret_cast<nlmsghdr*>(buffer_.data());
    for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) note(message, changes);
  }
  return lost ? overrun() : changes;
}

}  // namespace

Result<std::unique_ptr<Monitor>> open_monitor() {
  const std::string doing = "opening the network monitor";
  SocketHandle socket(nl_socket_alloc());
  if (!socket) return fail_errno(ENOMEM, doing);
  if (const int rc = nl_connect(socket.get(), NETLINK_ROUTE); rc < 0)
    return fail(Code::System, doing + ": socket(NETLINK_ROUTE): " + nl_geterror(rc));
  const int fd = nl_socket_get_fd(socket.get());
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveQueue, sizeof kReceiveQueue);
  if (auto result = attach_filter(fd); !result) return wrap(result.error(), doing);
  for (const int group : kGroups) {
    if (const int rc = nl_socket_add_membership(socket.get(), group); rc < 0)
      return fail(Code::System, doing + ": joining the rtnetlink group " + std::to_string(group) +
                                    ": " + nl_geterror(rc));
  }
  return std::make_unique<LibnlMonitor>(std::move(socket));
}

}  // namespace proxyvpn::netlink
