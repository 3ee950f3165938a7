#include "connect/tunnel_setup.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/secret.h"
#include "connect/refusal.h"
#include "connect/trial.h"
#include "connect/tunnel_table.h"

namespace proxyvpn::connect {
namespace {

// With so many connections to the proxy, EADDRNOTAVAIL means that no port is left, not that there
// is no address.
constexpr std::size_t kPortsWereThere = 32;

constexpr std::uint32_t kInterest = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

int pending_error(int fd) noexcept {
  int err = 0;
  socklen_t length = sizeof err;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &length) < 0) err = errno;
  return err != 0 ? err : ECONNRESET;
}

}  // namespace

ssize_t receive(int fd, std::span<std::uint8_t> buffer) noexcept {
  ssize_t n = 0;
  do {
    n = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  return n;
}

Tunnel::Setup::~Setup() {
  drop_attempts();
  wipe(request);
}

void Tunnel::Setup::drop_request() noexcept {
  wipe(request);
  request.clear();
  sent = 0;
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
  setup_ = std::make_unique<Setup>(*this, table.target_of(key_.destination), table.authenticator_,
                                   std::vector<IpAddress>(order.begin(), order.end()), started_);
  setup_->deadline.arm(table.reactor_.timers(), started_ + table.options_.connect_timeout);
  state_ = State::Connecting;
  if (!use_ready()) race();
}

void Tunnel::race() noexcept {
  if (state_ != State::Connecting && state_ != State::Waiting) return;
  state_ = State::Connecting;
  auto& schedule = setup_->schedule;
  const TimePoint now = table_.reactor_.now();
  while (const auto index = schedule.next(now)) {
    if (!try_address(*index)) return;
  }
  if (schedule.state() == RaceSchedule::State::Failed) {
    trouble(Trouble::Unreachable, setup_->last_error);
    return;
  }
  if (const auto due = schedule.deadline())
    setup_->next_attempt.arm(table_.reactor_.timers(), *due);
}

bool Tunnel::use_ready() noexcept {
  IpAddress address;
  fd_ = table_.ready_connection(&address);
  if (!fd_) return false;
  if (!table_.reactor_.add(fd_.get(), kInterest, *this)) {
    fd_.reset();
    return false;
  }
  setup_->ready_connection = setup_->connected_once = true;
  ask();
  return true;
}

// False: the tunnel waits for a socket, or has moved on.
bool Tunnel::try_address(std::size_t index) noexcept {
  auto& setup = *setup_;
  auto& reactor = table_.reactor_;
  const IpAddress& address = setup.addresses[index];
  const bool others = fd_.valid() || !setup.attempts.empty();
  if (!others && table_.out_of_ports()) {
    wait_for_port();
    return false;
  }
  UniqueFd fd = table_.sockets_.take(address.family());
  if (!fd) {
    if (others) {
      setup.schedule.failed(index, reactor.now());
      return true;
    }
    // A fresh race when there are sockets: the schedule has handed this attempt out already.
    setup.schedule = RaceSchedule(setup.addresses.size(), reactor.now());
    state_ = State::Waiting;
    table_.wait_for_socket(*this);
    return false;
  }
  if (const int err = begin_connect(fd.get(), address); err != 0) {
    const bool was_there = table_.addresses_.winner() == address;
    if (err == EADDRNOTAVAIL && !others && was_there && table_.tunnels_.size() >= kPortsWereThere) {
      wait_for_port();
      return false;
    }
    setup.last_error = err;
    table_.addresses_.failed(address);
    setup.schedule.failed(index, reactor.now());
    return true;
  }
  bool watched = false;
  if (!fd_) {
    setup.primary = index;
    fd_ = std::move(fd);
    watched = reactor.add(fd_.get(), kInterest, *this);
    if (!watched) fd_.reset();
  } else {
    auto& attempt = setup.attempts.emplace_back(*this, index, std::move(fd));
    watched = reactor.add(attempt.fd.get(), kInterest, attempt);
    if (!watched) setup.attempts.pop_back();
  }
  if (!watched) {
    setup.last_error = errno;
    setup.schedule.failed(index, reactor.now());
  }
  return true;
}

// 0, or why connect(2) failed at once. A connection that is there at once (loopback) gives its
// EPOLLOUT all the same.
int Tunnel::begin_connect(int fd, const IpAddress& address) noexcept {
  auto& setup = *setup_;
  const auto target = to_sockaddr({address, table_.proxy_port_});
  setup.in_syn = false;
  // The request goes with the SYN where the kernel has a cookie of this proxy (RFC 7413); it asks
  // for one otherwise. What may arrive twice that way is a CONNECT without a byte behind it. Where
  // addresses race, two could open the same tunnel: there the request waits for the winner.
  if (table_.options_.fast_open && setup.addresses.size() == 1) {
    setup.drop_request();
    setup.request = setup.codec.request();
    const ssize_t n =
        ::sendto(fd, setup.request.data(), setup.request.size(),
                 MSG_FASTOPEN | MSG_NOSIGNAL | MSG_DONTWAIT, target.get(), target.length);
    if (n > 0) {
      setup.in_syn = true;
      setup.sent = static_cast<std::size_t>(n);
      if (setup.sent == setup.request.size()) setup.drop_request();
      return 0;
    }
    if (errno == EINPROGRESS) return 0;  // an ordinary SYN; the request follows
    setup.drop_request();
    if (errno != EOPNOTSUPP) return errno;
    table_.options_.fast_open = false;  // net.ipv4.tcp_fastopen says no
  }
  return ::connect(fd, target.get(), target.length) < 0 && errno != EINPROGRESS ? errno : 0;
}

// All ports towards the proxy are taken: ours to wait, nothing that is wrong with the proxy.
void Tunnel::wait_for_port() noexcept {
  setup_->schedule = RaceSchedule(setup_->addresses.size(), table_.reactor_.now());
  state_ = State::Waiting;
  table_.wait_for_port(*this);
}

bool Tunnel::socket_available() noexcept {
  if (state_ != State::Waiting) return true;
  race();
  return state_ != State::Waiting;
}

void Tunnel::watch_primary(std::uint32_t events) noexcept {
  const int err = (events & (EPOLLERR | EPOLLHUP)) != 0 ? pending_error(fd_.get()) : 0;
  // One that had the request in the SYN may have answered and gone in the same moment.
  const bool was_there = setup_->in_syn && err == ECONNRESET;
  if (err != 0 && !was_there) {
    attempt_failed(setup_->primary, err);
  } else if ((events & EPOLLOUT) != 0) {
    attempt_connected(setup_->primary);
  }
}

void Tunnel::attempt_event(Attempt& attempt, std::uint32_t events) noexcept {
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
  const std::size_t index = attempt.index;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    attempt_failed(index, pending_error(attempt.fd.get()));
    return;
  }
  // It takes the place of the tunnel's own.
  table_.reactor_.remove(attempt.fd.get(), attempt);
  if (fd_) table_.reactor_.remove(fd_.get(), *this);
  fd_ = std::move(attempt.fd);
  if (!table_.reactor_.add(fd_.get(), kInterest, *this)) {
    refuse(stack::Refusal::NetworkUnreachable, End::NoSocket);
    return;
  }
  attempt_connected(index);
}

void Tunnel::attempt_failed(std::size_t index, int err) noexcept {
  auto& setup = *setup_;
  auto& reactor = table_.reactor_;
  setup.last_error = err;
  if (fd_ && setup.primary == index) {
    reactor.remove(fd_.get(), *this);
    fd_.reset();
  }
  setup.attempts.remove_if([&](Attempt& attempt) {
    if (attempt.index != index) return false;
    reactor.remove(attempt.fd.get(), attempt);
    return true;
  });
  readable_ = writable_ = hangup_ = false;
  table_.addresses_.failed(setup.addresses[index]);
  setup.schedule.failed(index, reactor.now());
  race();
}

void Tunnel::attempt_connected(std::size_t index) noexcept {
  auto& setup = *setup_;
  if (!setup.schedule.connected(index)) return;
  setup.next_attempt.cancel();
  setup.drop_attempts();
  setup.connected_once = true;
  table_.report_connected(setup.addresses[index]);
  if (!setup.in_syn) {
    ask();
    return;
  }
  state_ = State::Asking;
  writable_ = true;
  if (!setup.request.empty()) send_request();
  if (state_ == State::Asking && readable_) read_reply();
}

void Tunnel::start_over() noexcept {
  table_.reactor_.remove(fd_.get(), *this);
  fd_.reset();
  readable_ = writable_ = hangup_ = false;
  setup_->ready_connection = false;
  setup_->drop_request();
  setup_->schedule = RaceSchedule(setup_->addresses.size(), table_.reactor_.now());
  state_ = State::Connecting;
  race();
}

void Tunnel::ask() noexcept {
  state_ = State::Asking;
  if (setup_->request.empty()) setup_->request = setup_->codec.request();
  send_request();
}

void Tunnel::send_request() noexcept {
  auto& setup = *setup_;
  const ssize_t n = ::send(fd_.get(), setup.request.data() + setup.sent,
                           setup.request.size() - setup.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
  const int err = n < 0 ? errno : 0;
  if (n > 0) setup.sent += static_cast<std::size_t>(n);
  writable_ = setup.sent == setup.request.size();
  if (!writable_ && (n >= 0 || err == EAGAIN)) return;  // the rest when there is room
  setup.drop_request();
  if (writable_) return;
  if (setup.ready_connection) {
    start_over();
  } else {
    trouble(Trouble::Closed, err);
  }
}

void Tunnel::read_reply() noexcept {
  std::array<std::uint8_t, 16 * 1024> buffer;
  while (state_ == State::Asking && readable_) {
    const ssize_t n = receive(fd_.get(), buffer);
    if (n < 0 && errno == EAGAIN) {
      readable_ = false;
      return;
    }
    if (n <= 0 && setup_->ready_connection) {
      start_over();  // closed by the proxy while it waited in the pool
      return;
    }
    // A reset is an end like any other here: a challenge that came before it can still be answered.
    const auto got = static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    // A short read has emptied the socket (see Tunnel::read_some).
    if (got > 0 && got < buffer.size()) readable_ = hangup_;
    if (got > 0) setup_->ready_connection = false;  // the proxy is there: no reason to start over
    const Reply reply =
        n <= 0 ? setup_->codec.end_of_stream() : setup_->codec.feed({buffer.data(), got});
    if (n <= 0 && reply.outcome == Outcome::Malformed) {
      reason_ = reply.reason;
      trouble(Trouble::Closed, 0);
      return;
    }
    handle_reply(reply, buffer.data() + reply.consumed, got - reply.consumed);
  }
}

void Tunnel::handle_reply(const Reply& reply, const std::uint8_t* rest, std::size_t n) noexcept {
  if (reply.status != 0) status_ = reply.status;
  reason_ = reply.reason;
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
        setup_->drop_request();
        ask();
        return;
      }
      start_over();
      return;
    case Outcome::Refused:
      // tinyproxy says 401 where RFC 9110 15.5.8 has 407; no origin server answers a CONNECT.
      if (reply.status == 407 || reply.status == 401) {
        trouble(Trouble::Authentication, 0);
        return;
      }
      table_.report_answered();
      if (!Trial::is_one(key_)) ++table_.counters_.refused_by_proxy;
      refuse(refusal_for_status(reply.status), End::Refused);
      return;
    case Outcome::Malformed:
      trouble(Trouble::NotHttp, 0);
      return;
  }
}

void Tunnel::set_up_timed_out() noexcept {
  if (state_ != State::Waiting && !setup_->connected_once) {
    trouble(Trouble::Unreachable, ETIMEDOUT);  // counted with that
    return;
  }
  if (!Trial::is_one(key_)) ++table_.counters_.timeouts;
  if (state_ == State::Waiting) {
    refuse(stack::Refusal::Silent, End::NoSocket);
    return;
  }
  // The proxy takes its time about this target; it need not be the proxy's fault.
  table_.report_slow(key_.destination);
  refuse(stack::Refusal::HostUnreachable, End::TimedOut);
}

void Tunnel::refuse(stack::Refusal how, End why) noexcept {
  close_socket(false);
  if (flow_ != nullptr) std::exchange(flow_, nullptr)->refuse(how);
  gone(why);
}

void Tunnel::trouble(Trouble what, int err) noexcept {
  trouble_ = what;
  const char* const error = err != 0 ? ::strerrordesc_np(err) : nullptr;  // static texts
  if (reason_.empty() && error != nullptr) reason_ = error;
  // The report first: an application that ends at the error, and `run` with it, would leave no time
  // to say why.
  table_.report_trouble(what, status_, err);
  refuse(refusal_for_trouble(what), End::ProxyTrouble);
}

}  // namespace proxyvpn::connect
