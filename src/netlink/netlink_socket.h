#pragma once
// A netlink socket that asks and is answered. Inside this room only.
#include <netlink/netlink.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "netlink/message.h"

namespace proxyvpn::netlink {

struct FreeSocket {
  void operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }
};
using SocketHandle = std::unique_ptr<nl_sock, FreeSocket>;

// A message kept beyond its buffer.
using StoredMessage = std::vector<std::uint8_t>;
inline StoredMessage store(const nlmsghdr* message) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(message);
  return {bytes, bytes + message->nlmsg_len};
}
inline const nlmsghdr* stored(const StoredMessage& message) {
  return reinterpret_cast<const nlmsghdr*>(message.data());
}

class NetlinkSocket {
 public:
  // NETLINK_ROUTE, NETLINK_SOCK_DIAG. What changes something needs CAP_NET_ADMIN effective twice:
  // when the socket is opened and when the message is sent (netlink_capable() in the kernel).
  static Result<NetlinkSocket> open(int protocol);

  using Visit = std::function<void(const nlmsghdr*)>;
  // Sends and waits for the kernel's answer. `doing` goes in front of the error, which has the
  // kernel's errno and its own words (NETLINK_EXT_ACK). `visit` sees the answers, if any.
  Result<> request(Message& message, const std::string& doing, const Visit& visit = nullptr);
  // Sends with NLM_F_DUMP and visits each answer. The kernel tells when its list changed meanwhile;
  // then `restart` is called (forget what was visited) and it begins again, at most kRestarts
  // times: behind that the last listing stands, as a busy machine never holds still.
  Result<> dump(Message& message, const std::string& doing, const Visit& visit,
                const std::function<void()>& restart);

 private:
  struct Exchange;
  static constexpr int kRestarts = 4;
  static constexpr seconds kLimit{5};  // for one request or one whole dump

  NetlinkSocket(int protocol, SocketHandle socket)
      : protocol_(protocol), socket_(std::move(socket)) {}
  static Result<SocketHandle> connect(int protocol);
  Result<> exchange(Message& message, const std::string& doing, Exchange& exchange);
  Result<> converse(Message& message, const std::string& doing, Exchange& exchange);

  int protocol_ = 0;
  SocketHandle socket_;
};

}  // namespace proxyvpn::netlink
