#include "event/reactor.h"

#include <algorithm>
#include <cerrno>
#include <climits>

namespace proxyvpn::event {

Reactor::Reactor(UniqueFd epoll) : epoll_(std::move(epoll)), now_(Clock::now()), batch_(kBatch) {
  timers_.set_now(now_);
}

Result<Reactor> Reactor::open() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno(errno, "epoll_create1");
  return Reactor(std::move(epoll));
}

bool Reactor::add(int fd, std::uint32_t events, Handler& handler) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

bool Reactor::modify(int fd, std::uint32_t events, Handler& handler) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0;
}

void Reactor::remove(int fd, const Handler& handler) noexcept {
  // ENOENT and EBADF: it was not there, which is what the caller wants.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  for (std::size_t i = next_; i < count_; ++i) {
    if (batch_[i].data.ptr == &handler) batch_[i].data.ptr = nullptr;
  }
}

int Reactor::wait_milliseconds(Duration at_most) const noexcept {
  if (hurry_) return 0;
  Duration wait = at_most;
  if (const auto deadline = timers_.next_deadline()) {
    wait = std::min(wait, *deadline - Clock::now());
  }
  if (wait == Duration::max()) return -1;
  if (wait <= Duration::zero()) return 0;
  // Rounded up, so that a timer is due when we wake.
  const auto ms = std::chrono::ceil<milliseconds>(wait).count();
  return static_cast<int>(std::min<std::int64_t>(ms, INT_MAX));
}

bool Reactor::turn(Duration at_most) noexcept {
  const int timeout = wait_milliseconds(at_most);
  hurry_ = false;
  const int n = ::epoll_wait(epoll_.get(), batch_.data(), static_cast<int>(kBatch), timeout);
  if (n < 0 && errno != EINTR) return false;
  now_ = Clock::now();
  timers_.set_now(now_);
  count_ = n > 0 ? static_cast<std::size_t>(n) : 0;
  for (next_ = 0; next_ < count_;) {
    const epoll_event event = batch_[next_++];
    if (event.data.ptr != nullptr) static_cast<Handler*>(event.data.ptr)->on_event(event.events);
  }
  next_ = count_ = 0;
  timers_.fire(now_);
  if (end_of_turn_) end_of_turn_();
  return true;
}

bool Reactor::run() noexcept {
  stopped_ = false;
  while (!stopped_) {
    if (!turn()) return false;
  }
  return true;
}

}  // namespace proxyvpn::event
