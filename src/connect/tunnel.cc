#include "connect/tunnel.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "connect/tunnel_setup.h"
#include "connect/tunnel_table.h"

namespace proxyvpn::connect {
namespace {

constexpr std::size_t kPieces = 64;  // iovecs of one writev(2) to the proxy
constexpr std::size_t kSmallRead = std::size_t{8} * 1024 - 64;  // fits a small chunk
constexpr std::size_t kLargeRead = std::size_t{128} * 1024;
constexpr int kReadsPerTurn = 4;  // then others have their turn

}  // namespace

Tunnel::Tunnel(TunnelTable& table, stack::TcpFlow& flow, std::uint64_t id)
    : table_(table),
      flow_(&flow),
      key_(flow.key()),
      id_(id),
      started_(table.reactor_.now()),
      active_(started_) {
  flow.set_handler(this);
}

Tunnel::~Tunnel() {
  close_socket(false);
  if (flow_ != nullptr) flow_->abort();
}

FlowInfo Tunnel::info() const noexcept {
  FlowInfo flow;
  flow.id = id_;
  flow.key = key_;
  flow.started = started_;
  flow.active = active_;
  flow.bytes_up = bytes_up_;
  flow.bytes_down = bytes_down_;
  switch (state_) {
    case State::Waiting:
      flow.state = FlowState::Waiting;
      break;
    case State::Connecting:
      flow.state = FlowState::Connecting;
      break;
    case State::Asking:
      flow.state = FlowState::Asking;
      break;
    case State::Accepting:
      flow.state = FlowState::Accepting;
      break;
    case State::Relaying:
    case State::Gone:
      flow.state = up_done_ || down_done_ ? FlowState::HalfClosed : FlowState::Open;
      break;
  }
  return flow;
}

void Tunnel::on_event(std::uint32_t events) noexcept {
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) readable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = hangup_ = true;
  if ((events & EPOLLOUT) != 0) writable_ = true;
  switch (state_) {
    case State::Asking:
      if (writable_ && !setup_->request.empty()) send_request();
      if (state_ == State::Asking && readable_) read_reply();
      break;
    case State::Relaying:
      read_on();
      if (state_ == State::Relaying && writable_) pump_up();
      break;
    case State::Connecting:
      watch_primary(events);
      // Who speaks first may have done so by now, and there is no other event for that.
      if (state_ == State::Asking && readable_) read_reply();
      break;
    case State::Waiting:
    case State::Accepting:
    case State::Gone:
      break;
  }
}

void Tunnel::on_established() noexcept {
  if (state_ != State::Accepting) return;
  state_ = State::Relaying;
  table_.note_open(*this);
  // What came behind the proxy's 2xx in the same segment is the tunnel's (server-first protocols).
  if (setup_ && !setup_->early.empty()) {
    auto& early = setup_->early;
    std::size_t done = 0;
    while (done < early.size()) {
      const auto room = flow_->send_buffer(early.size() - done);
      if (room.empty()) break;
      std::copy_n(early.data() + done, room.size(), room.data());
      flow_->commit(room.size());
      done += room.size();
    }
    bytes_down_ += done;
    table_.counters_.bytes_down += done;
    early.erase(early.begin(), early.begin() + static_cast<std::ptrdiff_t>(done));
    if (!early.empty()) {  // no memory for a few kilobytes: rather none than a hole in the stream
      stop(End::NoSocket);
      return;
    }
  }
  setup_.reset();
  if (readable_) pump_down();
  if (state_ == State::Relaying) pump_up();
}

void Tunnel::on_readable() noexcept {
  if (state_ == State::Relaying && writable_) pump_up();
}

void Tunnel::on_writable() noexcept {
  if (state_ == State::Relaying) read_on();
}

// What moves much waits for its turn, so that what moves little need not.
void Tunnel::read_on() noexcept {
  if (!readable_) return;
  if (bulk_) {
    table_.later(*this);
  } else {
    pump_down();
  }
}

void Tunnel::resume() noexcept {
  queued_ = false;
  if (state_ == State::Relaying && readable_) pump_down();
}

void Tunnel::pump_up() noexcept {
  std::array<iovec, kPieces> pieces;
  while (!up_done_) {
    const std::size_t n = flow_->readable(pieces);
    if (n == 0) {
      if (flow_->read_eof()) finish_up();
      return;
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = n;
    const ssize_t sent = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
        writable_ = false;
        flow_->consume(0);  // tells the flow that its bytes have to wait
        return;
      }
      // EPIPE, ECONNRESET: the proxy is gone. What it had sent before is lost with it.
      close_socket(false);
      gone(End::ResetByProxy);
      return;
    }
    active_ = table_.reactor_.now();
    bytes_up_ += static_cast<std::uint64_t>(sent);
    table_.counters_.bytes_up += static_cast<std::uint64_t>(sent);
    flow_->consume(static_cast<std::size_t>(sent));
  }
}

void Tunnel::finish_up() noexcept {
  up_done_ = true;
  ::shutdown(fd_.get(), SHUT_WR);
  if (down_done_) close_socket(false);
}

void Tunnel::pump_down() noexcept {
  for (int i = 0; i < kReadsPerTurn; ++i) {
    if (!readable_ || down_done_ || state_ != State::Relaying) return;
    if (!read_some()) return;
  }
  if (readable_) table_.later(*this);
}

// One recv(2) into the flow's memory. False: nothing more to be done now.
bool Tunnel::read_some() noexcept {
  const auto room = flow_->send_buffer(bulk_ ? kLargeRead : kSmallRead);
  if (room.empty()) return false;  // on_writable() goes on
  const ssize_t n = receive(fd_.get(), room);
  if (n > 0) {
    const auto got = static_cast<std::size_t>(n);
    active_ = table_.reactor_.now();
    bytes_down_ += got;
    table_.counters_.bytes_down += got;
    flow_->commit(got);
    // A short read has emptied the socket: the next bytes give a new edge (epoll(7)). Not so after
    // a hang-up, which has been told already.
    if (got < room.size()) readable_ = hangup_;
    bulk_ = got == room.size() || (bulk_ && got >= kSmallRead);
    return true;
  }
  const int err = errno;
  flow_->commit(0);
  if (n == 0) {
    down_done_ = true;
    readable_ = false;
    flow_->finish();
    if (up_done_) close_socket(false);
    return false;
  }
  if (err == EAGAIN) {
    readable_ = false;
    return false;
  }
  close_socket(false);
  gone(End::ResetByProxy);
  return false;
}

void Tunnel::on_reset() noexcept {
  flow_ = nullptr;
  close_socket(true);
  gone(End::ResetByApp);
}

void Tunnel::on_closed() noexcept {
  flow_ = nullptr;
  close_socket(false);
  gone(End::Closed);
}

void Tunnel::stop(End why) noexcept {
  close_socket(true);
  gone(why);
}

void Tunnel::close_socket(bool reset) noexcept {
  setup_.reset();
  if (!fd_) return;
  table_.reactor_.remove(fd_.get(), *this);
  if (reset) {
    const linger hard{1, 0};  // close(2) sends an RST (socket(7), SO_LINGER)
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }
  fd_.reset();
}

void Tunnel::gone(End why) noexcept {
  if (state_ == State::Gone) return;
  state_ = State::Gone;
  if (flow_ != nullptr) {
    std::exchange(flow_, nullptr)->abort();
  }
  table_.bury(*this, why);
}

}  // namespace proxyvpn::connect
