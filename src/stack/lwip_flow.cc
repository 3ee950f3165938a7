#include "stack/lwip_flow.h"

#include <algorithm>
#include <limits>

#include "stack/lwip_guard.h"

namespace proxyvpn::stack {
namespace {

constexpr std::size_t kReadAhead = std::size_t{64} * 1024;  // bytes queued beyond the peer's window
constexpr std::size_t kMostInFlight = 2 << 20;  // bytes queued and on their way to an application
constexpr std::size_t kSmallestRoom =
    std::size_t{8} * 1024;                   // don't wake for less while bytes are in flight
constexpr std::size_t kWriteLimit = 0xffff;  // tcp_write() takes a u16_t
constexpr std::uint32_t kAckEvery = 2;       // segments, RFC 9293 3.8.6.3

}  // namespace

LwipFlow::~LwipFlow() { drop_queues(); }

void LwipFlow::accept() noexcept {
  if (state_ == State::Held) stack_.open(*this);
}

void LwipFlow::refuse(Refusal how) noexcept {
  if (state_ != State::Held) {
    abort();
    return;
  }
  stack_.send_unreachable(*this, how);
  stack_.remove(*this);
}

std::size_t LwipFlow::readable(std::span<iovec> pieces) const noexcept {
  std::size_t n = 0;
  for (const pbuf* p = rx_head_; p != nullptr && n < pieces.size(); p = p->next) {
    if (p->len > 0) pieces[n++] = {p->payload, p->len};
  }
  return n;
}

void LwipFlow::consume(std::size_t n) noexcept {
  n = std::min<std::size_t>(n, rx_bytes_);
  rx_bytes_ -= static_cast<std::uint32_t>(n);
  for (std::size_t left = n; rx_head_ != nullptr && (left > 0 || rx_head_->len == 0);) {
    pbuf* p = rx_head_;
    if (p->len > left) {
      pbuf_remove_header(p, left);
      break;
    }
    left -= p->len;
    rx_head_ = p->next;
    // One by one: the queue is linked by hand, its tot_len fields mean nothing.
    p->next = nullptr;
    p->tot_len = p->len;
    pbuf_free(p);
  }
  if (rx_head_ == nullptr) rx_tail_ = nullptr;
  stalled_ = rx_bytes_ > 0;
  if (state_ == State::Open && pcb_ != nullptr) open_window(n);
  // Closed had to wait until everything was taken.
  const bool over = state_ == State::Lingering || state_ == State::TimeWait;
  if (over && rx_bytes_ == 0) stack_.mark(*this, kClosed);
}

void LwipFlow::open_window(std::size_t consumed) noexcept {
  if (fin_received_) return;  // nothing more comes
  grown_after_ += static_cast<std::uint32_t>(consumed);
  stack_.uploads_.count(upload_, consumed, stack_.timers_.now());
  const std::uint32_t limit = stack_.window_limit();
  // A window's worth has passed: twice the window may pass as well, as long as the budget lasts.
  if (grown_after_ >= window_ && window_ * 2 <= limit && stack_.grow_window(window_)) {
    granted_ += window_;
    window_ *= 2;
    grown_after_ = 0;
  }
  // More flows upload than when it grew: room for all of them.
  while (granted_ > 0 && window_ > limit) {
    window_ /= 2;
    granted_ -= window_;
    stack_.granted_ -= window_;
  }
  // Never below what was announced (RFC 9293 3.8.6: do not shrink the window).
  const std::uint32_t announced = pcb_->rcv_ann_right_edge - pcb_->rcv_nxt;
  const std::uint32_t room = window_ > rx_bytes_ ? window_ - rx_bytes_ : 0;
  pcb_->rcv_wnd = std::max(room, static_cast<std::int32_t>(announced) > 0 ? announced : 0U);
  const std::uint32_t opened = pcb_->rcv_wnd - std::min(pcb_->rcv_wnd, announced);
  // An acknowledgement for every second segment's worth, and no silly windows (RFC 9293 3.8.6.2.2).
  const std::uint32_t half = window_ / 2;
  const std::uint32_t step = announced < peer_mss_ ? peer_mss_ : kAckEvery * peer_mss_;
  if (opened > 0 && opened >= std::min(step, half)) {
    pcb_->rcv_ann_wnd = pcb_->rcv_wnd;  // whatever goes out next says it
    stack_.ack_later(*this);
  }
}

// While the connection stands and no FIN has come: of a FIN, and of what is not in order, the
// sender hears at once.
bool LwipFlow::ack_may_wait() const noexcept {
  return pcb_->state == ESTABLISHED || pcb_->state == FIN_WAIT_1 || pcb_->state == FIN_WAIT_2;
}

void LwipFlow::hold_ack(std::size_t arrived) noexcept {
  // One frame can be many segments; lwIP counts it as one and would let it wait for its timer.
  const bool due = (pcb_->flags & TF_ACK_NOW) != 0 || arrived >= kAckEvery * peer_mss_;
  if (!due || !ack_may_wait()) return;
  tcp_clear_flags(pcb_, TF_ACK_NOW);
  stack_.ack_later(*this);
}

std::size_t LwipFlow::send_room() const noexcept {
  if (state_ != State::Open || pcb_ == nullptr || fin_wanted_) return 0;
  const std::size_t limit = std::min<std::size_t>(kMostInFlight, pcb_->snd_wnd + kReadAhead);
  const std::size_t room = unwritten_ > 0 || limit <= tx_bytes_ ? 0 : limit - tx_bytes_;
  // While there are bytes on their way: whole frames, or at least no crumbs.
  const std::size_t least = std::max(kSmallestRoom, std::min<std::size_t>(pcb_->mss, limit / 4));
  if (room == 0 || (tx_bytes_ > 0 && room < least)) {
    want_writable_ = true;
    return 0;
  }
  return room;
}

// Of `bytes`, what fills frames; all of it when that is less than one.
std::size_t LwipFlow::whole_frames(std::size_t bytes) const noexcept {
  return bytes > pcb_->mss ? bytes - bytes % pcb_->mss : bytes;
}

std::span<std::uint8_t> LwipFlow::send_buffer(std::size_t want) noexcept {
  want = std::min(want, send_room());
  if (want == 0) return {};
  const std::size_t left = tx_tail_ == nullptr ? 0 : tx_tail_->size - tx_tail_->filled;
  if (left < std::min<std::size_t>(want, ChunkPool::kSmall / 2)) {
    Chunk* chunk = stack_.chunks_.take(want);
    if (chunk == nullptr) {
      want_writable_ = true;
      return {};
    }
    (tx_tail_ == nullptr ? tx_head_ : tx_tail_->next) = chunk;
    tx_tail_ = chunk;
  }
  const std::size_t here = std::min<std::size_t>(want, tx_tail_->size - tx_tail_->filled);
  return {tx_tail_->data() + tx_tail_->filled,
          here > ChunkPool::kSmall ? whole_frames(here) : here};
}

void LwipFlow::commit(std::size_t n) noexcept {
  if (tx_tail_ == nullptr) return;
  if (n == 0) {  // the reader had nothing after all: an unused chunk goes back
    if (tx_head_ == tx_tail_ && tx_tail_->filled == 0) {
      stack_.chunks_.give(tx_tail_);
      tx_head_ = tx_tail_ = nullptr;
    }
    return;
  }
  tx_tail_->filled += static_cast<std::uint32_t>(n);
  tx_bytes_ += static_cast<std::uint32_t>(n);
  unwritten_ += static_cast<std::uint32_t>(n);
  const LwipStack::Guard guard(stack_, *this);
  push();
}

void LwipFlow::push() noexcept {
  for (Chunk* chunk = tx_head_; chunk != nullptr && unwritten_ > 0 && pcb_ != nullptr;
       chunk = chunk->next) {
    while (chunk->written < chunk->filled) {
      const std::size_t piece = whole_frames(
          std::min<std::size_t>({chunk->filled - chunk->written, kWriteLimit, tcp_sndbuf(pcb_)}));
      if (piece == 0) return;
      // By reference (no TCP_WRITE_FLAG_COPY): the chunk stays until acknowledged().
      if (tcp_write(pcb_, chunk->data() + chunk->written, static_cast<u16_t>(piece), 0) != ERR_OK) {
        tcp_output(pcb_);
        return;  // no memory: again with the next acknowledgement or tick
      }
      chunk->written += static_cast<std::uint32_t>(piece);
      unwritten_ -= static_cast<std::uint32_t>(piece);
    }
  }
  if (pcb_ == nullptr) return;
  if (fin_wanted_ && !fin_sent_ && unwritten_ == 0) {
    fin_sent_ = true;
    // Never tcp_close(): with unread bytes it sends an RST.
    tcp_shutdown(pcb_, 0, 1);
  }
  tcp_output(pcb_);
}

void LwipFlow::finish() noexcept {
  if (state_ != State::Open || fin_wanted_ || pcb_ == nullptr) return;
  fin_wanted_ = true;
  const LwipStack::Guard guard(stack_, *this);
  push();
}

void LwipFlow::abort() noexcept {
  if (state_ == State::Dead) return;
  if (state_ == State::Held) {
    refuse(Refusal::Refused);
    return;
  }
  handler_ = nullptr;
  if (state_ == State::TimeWait) {
    stack_.leave_time_wait(*this, false);
    return;
  }
  if (pcb_ != nullptr) {
    const LwipStack::Guard guard(stack_, *this);
    state_ = State::Dead;  // lwIP reports our own abort through the error callback: not an event
    tcp_abort(pcb_);
  }
  stack_.remove(*this);
}

void LwipFlow::received(pbuf* p) noexcept {
  rx_bytes_ += p->tot_len;
  (rx_tail_ == nullptr ? rx_head_ : rx_tail_->next) = p;
  while (p->next != nullptr) p = p->next;
  rx_tail_ = p;
  events_ |= kReadable;
}

void LwipFlow::fin_received() noexcept {
  fin_received_ = true;
  events_ |= kReadable;
}

void LwipFlow::acknowledged(std::size_t n) noexcept {
  tx_bytes_ -= static_cast<std::uint32_t>(std::min<std::size_t>(n, tx_bytes_));
  while (n > 0 && tx_head_ != nullptr) {
    Chunk* chunk = tx_head_;
    const auto here = std::min<std::size_t>(n, chunk->filled - chunk->acked);
    chunk->acked += static_cast<std::uint32_t>(here);
    n -= here;
    if (chunk->acked < chunk->filled) break;
    // All that it holds is acknowledged; idle flows keep no chunk, not even a half empty one.
    tx_head_ = chunk->next;
    if (tx_head_ == nullptr) tx_tail_ = nullptr;
    stack_.chunks_.give(chunk);
  }
  if (unwritten_ > 0) push();
}

void LwipFlow::drop_queues() noexcept {
  while (rx_head_ != nullptr) {
    pbuf* p = rx_head_;
    rx_head_ = p->next;
    p->next = nullptr;
    p->tot_len = p->len;
    pbuf_free(p);
  }
  rx_tail_ = nullptr;
  rx_bytes_ = 0;
  while (tx_head_ != nullptr) {
    Chunk* chunk = tx_head_;
    tx_head_ = chunk->next;
    stack_.chunks_.give(chunk);
  }
  tx_tail_ = nullptr;
  tx_bytes_ = unwritten_ = 0;
}

bool LwipFlow::busy() const noexcept {
  if (pcb_ == nullptr || in_time_wait_) return false;
  constexpr tcpflags_t kPending = TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_NAGLEMEMERR;
  if (pcb_->unacked != nullptr || pcb_->unsent != nullptr || pcb_->ooseq != nullptr) return true;
  if (pcb_->persist_backoff > 0 || pcb_->refused_data != nullptr || (pcb_->flags & kPending) != 0)
    return true;
  if (unwritten_ > 0) return true;
  return pcb_->state != ESTABLISHED && pcb_->state != CLOSE_WAIT && pcb_->state != FIN_WAIT_2;
}

}  // namespace proxyvpn::stack
