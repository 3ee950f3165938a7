#include "stack/lwip_stack.h"

#include <algorithm>
#include <cstring>

#include "stack/lwip_guard.h"

namespace proxyvpn::stack {
namespace {

constexpr int kFramesPerDrain = 32;
constexpr std::size_t kSmallFrame = 2048;
constexpr unsigned kLoneReads = 8;
// A quarter of the largest window: the sender's next acknowledgement comes while it still has
// something to send, and what was read is still in the cache when it is passed on.
constexpr std::size_t kBytesPerDrain = 512 * 1024;

}  // namespace

LwipStack* LwipStack::the_stack = nullptr;

// lwIP's callbacks. They run inside a Guard and only note what happened.
struct LwipCallbacks {
  static err_t accepted(void* argument, tcp_pcb* pcb, err_t) {
    auto* flow = static_cast<LwipFlow*>(argument);
    flow->events_ |= LwipFlow::kEstablished;
    // lwIP believes that the SYN-ACK announced TCP_WND; on the wire it said window_ (see output()).
    pcb->rcv_wnd = pcb->rcv_ann_wnd = flow->window_;
    pcb->rcv_ann_right_edge = pcb->rcv_nxt + flow->window_;
    return ERR_OK;
  }
  static err_t received(void* flow, tcp_pcb*, pbuf* p, err_t) {
    if (p == nullptr) {
      static_cast<LwipFlow*>(flow)->fin_received();
    } else {
      const std::size_t arrived = p->tot_len;
      static_cast<LwipFlow*>(flow)->received(p);
      static_cast<LwipFlow*>(flow)->hold_ack(arrived);
    }
    return ERR_OK;
  }
  static err_t sent(void* flow, tcp_pcb*, u16_t length) {
    static_cast<LwipFlow*>(flow)->acknowledged(length);
    return ERR_OK;
  }
  static void error(void* argument, err_t code) {
    auto* flow = static_cast<LwipFlow*>(argument);
    flow->pcb_ = nullptr;
    // ERR_CLSD: LAST_ACK was acknowledged, the normal end. Everything else ended it early.
    flow->events_ |= code == ERR_CLSD ? LwipFlow::kClosed : LwipFlow::kReset;
  }
};

LwipStack::LwipStack(tun::PacketIo& io, FlowAcceptor& acceptor, event::TimerQueue& timers,
                     StackLimits limits)
    : io_(io),
      acceptor_(acceptor),
      timers_(timers),
      limits_(limits),
      offloads_(io.offloads()),
      table_(HashSeed{random_bits(), random_bits()}),
      uploads_(limits.shared_window),
      tick_timer_([this] { tick(); }),
      time_wait_timer_([this] { expire_time_wait(); }),
      last_tick_(timers.now()) {
  static const bool initialised = (lwip_init(), true);
  (void)initialised;
  the_stack = this;
  netif_add_noaddr(
      &interface_, this,
      [](netif* interface) -> err_t {
        interface->output = output_v4;
        interface->output_ip6 = output_v6;
        interface->mtu = 65535;
        return ERR_OK;
      },
      ip_input);
  // Any address will do: routing is "the one interface", replies carry the flow's own addresses.
  ip4_addr_t address{};
  ip4_addr_t any{};
  IP4_ADDR(&address, 192, 0, 2, 1);
  netif_set_addr(&interface_, &address, &any, &any);
  netif_set_default(&interface_);
  netif_set_up(&interface_);
  netif_set_link_up(&interface_);
  tcp_pcb* pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
  tcp_bind(pcb, IP_ANY_TYPE, 1);
  listener_ = reinterpret_cast<tcp_pcb_listen*>(tcp_listen(pcb));
  tcp_accept(reinterpret_cast<tcp_pcb*>(listener_), LwipCallbacks::accepted);
}

LwipStack::~LwipStack() {
  abort_all();
  tcp_close(reinterpret_cast<tcp_pcb*>(listener_));
  netif_remove(&interface_);
  graveyard_.clear();
  the_stack = nullptr;
}

bool LwipStack::drain() noexcept {
  int n = 0;
  std::size_t bytes = 0;
  for (; n < kFramesPerDrain && bytes < kBytesPerDrain; ++n) {
    FrameBuffer* frame = frames_.take();
    if (frame == nullptr) {
      ++counters_.no_memory;
      break;
    }
    std::size_t length = 0;
    const auto status = io_.read(frame->bytes, &length);
    if (status != tun::IoStatus::Ok) {
      frames_.give(frame);
      break;
    }
    ++counters_.packets_in;
    bytes += length;
    input(frame, length);
    // A small frame that came alone mostly is: the read that would find nothing is left to
    // epoll_wait(2), which tells just as well. Looked at anew now and then.
    if (n == 0 && length < kSmallFrame && lone_ > 0 && lone_ < kLoneReads) {
      ++lone_;
      flush();
      return true;
    }
  }
  lone_ = n == 1 ? 1 : 0;
  flush();
  return n == kFramesPerDrain || bytes >= kBytesPerDrain;
}

void LwipStack::set_up(LwipFlow& flow) noexcept {
  tcp_pcb* pcb = flow.pcb_;
  tcp_arg(pcb, &flow);
  tcp_recv(pcb, LwipCallbacks::received);
  tcp_sent(pcb, LwipCallbacks::sent);
  tcp_err(pcb, LwipCallbacks::error);
  tcp_nagle_disable(pcb);
  // The peer's MSS goes into gso_size; lwIP itself builds frames of a multiple of it, as large as
  // an IP packet (and lwIP's 16-bit lengths) can carry.
  flow.peer_mss_ = std::max<std::uint16_t>(pcb->mss, 64);
  // lwIP takes "half the largest window seen" as segment size, and the whole MSS while that is 0:
  // a size that shrinks when the first window comes, which it then asserts on.
  pcb->snd_wnd_max = std::max<tcpwnd_size_t>(pcb->snd_wnd_max, 2 * 536);
  if (offloads_.segmentation) {
    const unsigned most = flow.key().source.address.is_v4() ? 65495 : 65475;
    pcb->mss = static_cast<u16_t>(flow.peer_mss_ * (most / flow.peer_mss_));
  }
}

void LwipStack::after(LwipFlow& flow) noexcept {
  using State = LwipFlow::State;
  if (flow.state_ == State::Dead) return;
  if ((flow.events_ & LwipFlow::kEstablished) != 0 && flow.pcb_ != nullptr) {
    // The path is one machine long, the peer's window is the limit. (tcp_process() sets its own
    // value behind the accept callback, so this is the first moment.)
    flow.pcb_->cwnd = TCP_SND_BUF;
  }
  if (flow.pcb_ == nullptr && (flow.events_ & LwipFlow::kClosed) != 0 && flow.rx_bytes_ > 0) {
    flow.events_ &= static_cast<std::uint8_t>(~LwipFlow::kClosed);
    flow.state_ = State::Lingering;
  }
  if (flow.in_time_wait_ && flow.state_ == State::Open) enter_time_wait(flow);
  if (flow.want_writable_) {
    flow.want_writable_ = false;
    if (flow.send_room() > 0) flow.events_ |= LwipFlow::kWritable;
  }
  update_busy(flow);
  if (flow.events_ != 0) mark(flow, 0);
}

void LwipStack::mark(LwipFlow& flow, std::uint8_t events) noexcept {
  flow.events_ |= events;
  if (flow.in_dirty_) return;
  flow.in_dirty_ = true;
  dirty_.push_back(&flow);
}

void LwipStack::ack_later(LwipFlow& flow) noexcept {
  flow.ack_due_ = true;
  if (flow.in_acks_) return;
  flow.in_acks_ = true;
  acks_.push_back(&flow);
}

// What arrived together is acknowledged together, and with the window that is open now that it has
// been passed on: one small packet for a batch, and none where data has carried it (see output()).
void LwipStack::send_acks() noexcept {
  for (LwipFlow* flow : acks_) {
    if (flow == nullptr) continue;
    flow->in_acks_ = false;
    if (!flow->ack_due_ || flow->pcb_ == nullptr || flow->in_time_wait_) continue;
    flow->ack_due_ = false;
    const Guard guard(*this, *flow);
    tcp_ack_now(flow->pcb_);
    tcp_output(flow->pcb_);
  }
  acks_.clear();
}

void LwipStack::flush() noexcept {
  if (delivering_) return;
  delivering_ = true;
  do {
    // Handlers may add to the list while it is walked.
    for (std::size_t i = 0; i < dirty_.size(); ++i) {
      LwipFlow* flow = dirty_[i];
      if (flow == nullptr) continue;
      flow->in_dirty_ = false;
      deliver(*flow);
    }
    dirty_.clear();
    send_acks();
  } while (!dirty_.empty());
  graveyard_.clear();
  delivering_ = false;
}

void LwipStack::deliver(LwipFlow& flow) noexcept {
  const std::uint8_t events = std::exchange(flow.events_, 0);
  FlowHandler* handler = flow.handler_;
  const auto alive = [&] {
    return flow.state_ != LwipFlow::State::Dead && flow.handler_ != nullptr;
  };
  const bool reset = (events & LwipFlow::kReset) != 0;
  if ((events & LwipFlow::kEstablished) != 0 && !reset && alive()) handler->on_established();
  if ((events & LwipFlow::kReadable) != 0 && !reset && alive()) handler->on_readable();
  if ((events & LwipFlow::kWritable) != 0 && !reset && alive()) handler->on_writable();
  if ((events & (LwipFlow::kReset | LwipFlow::kClosed)) == 0) return;
  if (flow.state_ == LwipFlow::State::Dead) return;
  if (!reset && flow.rx_bytes_ > 0) {
    // The handler could not take everything: closed is told when it has.
    if (flow.state_ == LwipFlow::State::Open) flow.state_ = LwipFlow::State::Lingering;
    return;
  }
  flow.handler_ = nullptr;
  if (flow.state_ != LwipFlow::State::TimeWait) remove(flow);
  if (handler != nullptr) {
    if (reset) {
      handler->on_reset();
    } else {
      handler->on_closed();
    }
  }
}

void LwipStack::remove(LwipFlow& flow) noexcept {
  flow.state_ = LwipFlow::State::Dead;
  flow.handler_ = nullptr;
  if (detached_.erase(&flow) == 0) table_.erase(flow);
  update_busy(flow);
  if (flow.in_dirty_) {
    const auto at = std::find(dirty_.rbegin(), dirty_.rend(), &flow);
    if (at != dirty_.rend()) *at = nullptr;
    flow.in_dirty_ = false;
  }
  if (flow.in_acks_) {
    std::replace(acks_.begin(), acks_.end(), &flow, static_cast<LwipFlow*>(nullptr));
    flow.in_acks_ = false;
  }
  granted_ -= std::exchange(flow.granted_, 0);
  flow.drop_queues();
  graveyard_.emplace_back(&flow);
}

void LwipStack::detach(LwipFlow& flow) noexcept {
  table_.erase(flow);
  detached_.insert(&flow);
}

bool LwipStack::grow_window(std::uint32_t by) noexcept {
  if (granted_ + by > limits_.memory_budget) return false;
  granted_ += by;
  return true;
}

void LwipStack::abort_all() noexcept {
  std::vector<LwipFlow*> all(detached_.begin(), detached_.end());
  all.reserve(all.size() + table_.size());
  table_.for_each([&](LwipFlow& flow) { all.push_back(&flow); });
  for (LwipFlow* flow : all) {
    if (flow->state_ == LwipFlow::State::TimeWait) {
      leave_time_wait(*flow, false);
    } else {
      flow->abort();
    }
  }
  if (!delivering_) graveyard_.clear();
}

std::uint64_t LwipStack::buffered_bytes() const noexcept {
  return frames_.out() * sizeof(FrameBuffer) + chunks_.bytes_out() + rx_copied_;
}

}  // namespace proxyvpn::stack
