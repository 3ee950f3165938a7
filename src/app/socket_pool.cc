#include "app/socket_pool.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

namespace proxyvpn::app {
namespace {

void set(int fd, int level, int option, int value) noexcept {
  // Only tuning: a kernel that refuses one of these carries the connection all the same.
  ::setsockopt(fd, level, option, &value, sizeof value);
}

// Done while the socket waits in the stock, not while an application waits for it.
void prepare(int fd) noexcept {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  // An idle tunnel lives as long as both ends want; a dead proxy is noticed after about four
  // minutes.
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 120);
  set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 30);
  set(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

}  // namespace

UniqueFd SocketPool::take(Family family) noexcept {
  Stock& s = stock(family);
  s.wanted = std::max(s.wanted, kSmallest);
  s.quiet = 0;
  if (s.sockets.empty()) {
    s.wanted = std::min(s.wanted * 2, kLargest);
    refill(family, s);
    return {};
  }
  UniqueFd fd = std::move(s.sockets.front());
  s.sockets.pop_front();
  return fd;
}

void SocketPool::put(Family family, std::vector<UniqueFd> sockets) noexcept {
  Stock& s = stock(family);
  if (sockets.empty()) s.starved = true;
  s.asked -= std::min(s.asked, sockets.empty() ? s.asked : sockets.size());
  for (auto& fd : sockets) {
    prepare(fd.get());
    s.sockets.push_back(std::move(fd));
  }
}

void SocketPool::trim() noexcept {
  trim(v4_);
  trim(v6_);
}

void SocketPool::trim(Stock& s) noexcept {
  if (++s.quiet < kQuietSeconds) return;
  s.wanted = std::min(s.wanted, kSmallest);
  while (s.sockets.size() > s.wanted) s.sockets.pop_back();
}

void SocketPool::refill() noexcept {
  refill(Family::V4, v4_);
  refill(Family::V6, v6_);
}

void SocketPool::refill(Family family, Stock& s) noexcept {
  if (s.starved) return;
  // Half empty before a request goes out, so that they travel in batches.
  while (s.sockets.size() + s.asked <= s.wanted / 2 && s.wanted > 0) {
    const auto count = std::min(s.wanted - s.sockets.size() - s.asked, kMaxSocketsPerMessage);
    if (!ask_({family, static_cast<std::uint8_t>(count)})) return;
    s.asked += count;
  }
}

}  // namespace proxyvpn::app
