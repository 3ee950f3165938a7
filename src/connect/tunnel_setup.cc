#include "connect/tunnel_setup.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/secret.h"
#include "connect/refusal.h"
#include "connect/tunnel_table.h"

namespace proxyvpn::connect {
namespace {

constexpr std::uint32_t kInterest = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

}  // namespace

Tunnel::Setup::~Setup() {
  drop_attempts();
  wipe(request);
}

void Tunnel::Setup::drop_attempts() noexcept {
  for (auto& attempt : attempts) {
    if (attempt.fd) tunnel.table_.reactor_.remove(attempt.fd.get(), attempt);
  }
  attempts.clear();
}

void Tunnel::start() noexcept {
  auto& table = table_;
  const auto order = table.addresses_.ordered();
  setup_ = std::make_unique<Setup>(*this, to_target(key_.destination), *table.authenticator_,
                                   std::vector<IpAddress>(order.begin(), order.end()), started_);
  setup_->deadline.arm(table.reactor_.timers(), started_ + table.options_.connect_timeout);
  state_ = State::Connecting;
  race();
}

void Tunnel::race() noexcept {
  if (state_ != State::Connecting && state_ != State::Waiting) return;
  state_ = State::Connecting;
  auto& schedule = setup_->schedule;
  const TimePoint now = table_.reactor_.now();
  while (const auto index = schedule.next(now)) {
    if (!try_address(*index)) return;
    if (state_ != State::Connecting) return;
  }
  if (schedule.state() == RaceSchedule::State::Failed) {
    trouble(Trouble::Unreachable, setup_->last_error);
    return;
  }
  if (const auto due = schedule.deadline())
    setup_->next_attempt.arm(table_.reactor_.timers(), *due);
}

// False: the tunnel waits for a socket, or has moved on.
bool Tunnel::try_address(std::size_t index) noexcept {
  auto& setup = *setup_;
  const IpAddress& address = setup.addresses[index];
  UniqueFd fd = table_.sockets_.take(address.family());
  if (!fd) {
    // Asked for again when there are sockets: a fresh race, the schedule has handed this one out.
    if (!setup.attempts.empty()) {
      setup.schedule.failed(index, table_.reactor_.now());
      return true;
    }
    setup.schedule = RaceSchedule(setup.addresses.size(), table_.reactor_.now());
    state_ = State::Waiting;
    table_.wait_for_socket(*this);
    return false;
  }
  const auto target = to_sockaddr({address, table_.proxy_port_});
  if (::connect(fd.get(), target.get(), target.length) == 0) {
    attempt_connected(index, std::move(fd));
    return false;
  }
  if (errno != EINPROGRESS) {
    setup.last_error = errno;
    table_.addresses_.failed(address);
    setup.schedule.failed(index, table_.reactor_.now());
    return true;
  }
  auto& attempt = setup.attempts.emplace_back(*this, index, std::move(fd));
  if (!table_.reactor_.add(attempt.fd.get(), kInterest, attempt)) {
    setup.last_error = errno;
    setup.attempts.pop_back();
    setup.schedule.failed(index, table_.reactor_.now());
  }
  return true;
}

bool Tunnel::socket_available() noexcept {
  if (state_ != State::Waiting) return true;
  race();
  return state_ != State::Waiting;
}

void Tunnel::attempt_event(Attempt& attempt, std::uint32_t events) noexcept {
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
  int err = 0;
  socklen_t length = sizeof err;
  if (::getsockopt(attempt.fd.get(), SOL_SOCKET, SO_ERROR, &err, &length) < 0) err = errno;
  const std::size_t index = attempt.index;
  if (err != 0) {
    attempt_failed(index, err);
    return;
  }
  table_.reactor_.remove(attempt.fd.get(), attempt);
  attempt_connected(index, std::move(attempt.fd));
}

void Tunnel::attempt_failed(std::size_t index, int err) noexcept {
  auto& setup = *setup_;
  setup.last_error = err;
  setup.attempts.remove_if([&](Attempt& attempt) {
    if (attempt.index != index) return false;
    table_.reactor_.remove(attempt.fd.get(), attempt);
    return true;
  });
  table_.addresses_.failed(setup.addresses[index]);
  setup.schedule.failed(index, table_.reactor_.now());
  race();
}

void Tunnel::attempt_connected(std::size_t index, UniqueFd fd) noexcept {
  auto& setup = *setup_;
  if (!setup.schedule.connected(index)) return;
  table_.report_connected(setup.addresses[index]);
  setup.next_attempt.cancel();
  setup.drop_attempts();
  setup.connected_once = true;
  fd_ = std::move(fd);
  readable_ = hangup_ = false;
  writable_ = true;
  if (!table_.reactor_.add(fd_.get(), kInterest, *this)) {
    fd_.reset();
    refuse(stack::Refusal::NetworkUnreachable, End::NoSocket);
    return;
  }
  ask();
}

void Tunnel::ask() noexcept {
  state_ = State::Asking;
  wipe(setup_->request);
  setup_->request = setup_->codec.request();
  send_request();
}

void Tunnel::send_request() noexcept {
  auto& request = setup_->request;
  // A fresh socket takes a request whole (it is far below the smallest send buffer).
  const ssize_t n = ::send(fd_.get(), request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  const bool whole = n == static_cast<ssize_t>(request.size());
  const int err = n < 0 ? errno : 0;
  wipe(request);
  if (!whole) trouble(Trouble::Closed, err);
}

void Tunnel::read_reply() noexcept {
  std::array<std::uint8_t, 16 * 1024> buffer;
  while (state_ == State::Asking) {
    const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      readable_ = false;
      return;
    }
    if (n < 0) {
      trouble(Trouble::Closed, errno);
      return;
    }
    const auto got = static_cast<std::size_t>(n);
    const Reply reply =
        n == 0 ? setup_->codec.end_of_stream() : setup_->codec.feed({buffer.data(), got});
    if (n == 0 && reply.outcome == Outcome::Malformed) {
      trouble(Trouble::Closed, 0);
      return;
    }
    handle_reply(reply, buffer.data() + reply.consumed, got - reply.consumed);
  }
}

void Tunnel::handle_reply(const Reply& reply, const std::uint8_t* rest, std::size_t n) noexcept {
  if (reply.status != 0) status_ = reply.status;
  switch (reply.outcome) {
    case Outcome::NeedMore:
      return;
    case Outcome::Established:
      table_.report_answered();
      setup_->deadline.cancel();
      setup_->early.assign(rest, rest + n);
      state_ = State::Accepting;
      table_.settled(*this);
      flow_->accept();
      return;
    case Outcome::Retry:
      if (!reply.reconnect) {
        ask();
        return;
      }
      table_.reactor_.remove(fd_.get(), *this);
      fd_.reset();
      state_ = State::Connecting;
      setup_->schedule = RaceSchedule(setup_->addresses.size(), table_.reactor_.now());
      race();
      return;
    case Outcome::Refused:
      if (reply.status == 407) {
        trouble(Trouble::Authentication, 0);
        return;
      }
      table_.report_answered();
      ++table_.counters_.refused_by_proxy;
      refuse(refusal_for_status(reply.status), End::Refused);
      return;
    case Outcome::Malformed:
      trouble(Trouble::NotHttp, 0);
      return;
  }
}

void Tunnel::set_up_timed_out() noexcept {
  ++table_.counters_.timeouts;
  if (state_ == State::Waiting) {
    refuse(stack::Refusal::Silent, End::NoSocket);
    return;
  }
  if (setup_->connected_once) {
    // The proxy takes its time about this target; it need not be the proxy's fault.
    refuse(stack::Refusal::HostUnreachable, End::TimedOut);
  } else {
    trouble(Trouble::Unreachable, ETIMEDOUT);
  }
}

void Tunnel::refuse(stack::Refusal how, End why) noexcept {
  close_socket(false);
  if (flow_ != nullptr) std::exchange(flow_, nullptr)->refuse(how);
  gone(why);
}

void Tunnel::trouble(Trouble what, int err) noexcept {
  trouble_ = what;
  auto& table = table_;
  const int status = status_;
  refuse(refusal_for_trouble(what), End::ProxyTrouble);
  table.report_trouble(what, status, err);
}

}  // namespace proxyvpn::connect
