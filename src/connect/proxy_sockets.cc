#include "connect/proxy_sockets.h"

#include <netinet/in.h>
#include <sys/socket.h>

namespace proxyvpn::connect {

UniqueFd ProxySockets::make(Family family) noexcept {
  UniqueFd fd(::socket(family == Family::V4 ? AF_INET : AF_INET6,
                       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (fd && !sources_.empty()) bind_next(fd.get(), family);
  return fd;
}

void ProxySockets::bind_next(int fd, Family family) noexcept {
  // The port is chosen by connect(2), when the other end is known: bind(2) would want one that
  // nobody uses towards anybody (ip(7)).
  const int on = 1;
  ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const IpAddress& source = sources_[turn_++ % sources_.size()];
    if (source.family() != family) continue;
    const auto address = to_sockaddr({source, 0});
    if (::bind(fd, address.get(), address.length) == 0) return;
  }
}

}  // namespace proxyvpn::connect
