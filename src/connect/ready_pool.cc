#include "connect/ready_pool.h"

#include <algorithm>

namespace proxyvpn::connect {

ReadyPool::ReadyPool(event::Reactor& reactor, std::size_t most,
                     std::function<UniqueFd(IpAddress*)> open)
    : reactor_(reactor), most_(most), open_(std::move(open)), expiry_([this] { expire(); }) {}

UniqueFd ReadyPool::take(IpAddress* address) noexcept {
  if (most_ == 0) return {};
  ++demand_;
  for (auto at = idle_.begin(); at != idle_.end(); ++at) {
    if (!at->connected) continue;
    reactor_.remove(at->fd.get(), *at);
    UniqueFd fd = std::move(at->fd);
    *address = at->address;
    idle_.erase(at);
    return fd;
  }
  return {};
}

void ReadyPool::refill() noexcept {
  if (most_ == 0) return;
  const TimePoint now = reactor_.now();
  if (now - second_began_ >= seconds(1)) {
    recent_demand_ = demand_;
    demand_ = 0;
    second_began_ = now;
  }
  const std::size_t wanted = std::min(most_, std::max(demand_, recent_demand_));
  while (idle_.size() < wanted) {
    IpAddress address;
    UniqueFd fd = open_(&address);
    if (!fd) return;
    auto& idle = idle_.emplace_back(*this, std::move(fd), address, now);
    if (!reactor_.add(idle.fd.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, idle)) {
      idle_.pop_back();
      return;
    }
    if (!expiry_.armed()) expiry_.arm(reactor_.timers(), now + kIdleLimit);
  }
}

void ReadyPool::on_event(Idle& idle, std::uint32_t events) noexcept {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) == 0) {
    idle.connected = true;
    return;
  }
  // Refused, closed, or a proxy that speaks first: not a connection to build on.
  reactor_.remove(idle.fd.get(), idle);
  idle_.remove_if([&](const Idle& other) { return &other == &idle; });
}

void ReadyPool::expire() noexcept {
  while (!idle_.empty() && idle_.front().opened + kIdleLimit <= reactor_.now()) {
    reactor_.remove(idle_.front().fd.get(), idle_.front());
    idle_.pop_front();
  }
  if (!idle_.empty()) expiry_.arm(reactor_.timers(), idle_.front().opened + kIdleLimit);
}

void ReadyPool::clear() noexcept {
  for (auto& idle : idle_) reactor_.remove(idle.fd.get(), idle);
  idle_.clear();
}

}  // namespace proxyvpn::connect
