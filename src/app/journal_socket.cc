#include "app/journal_socket.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace proxyvpn::app {

JournalSocket::JournalSocket(const std::string& path)
    : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  address_.sun_family = AF_UNIX;
  std::memcpy(address_.sun_path, path.data(), std::min(path.size(), sizeof address_.sun_path - 1));
}

bool JournalSocket::send(const std::string& datagram) const noexcept {
  if (!socket_) return false;
  for (;;) {
    const auto n = ::sendto(socket_.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL,
                            reinterpret_cast<const sockaddr*>(&address_), sizeof address_);
    if (n >= 0 || errno != EINTR) return n >= 0;
  }
}

}  // namespace proxyvpn::app
