// TCP's timers over the flows that need them: retransmission, persist, delayed ACK, TIME_WAIT.
#include "stack/lwip_guard.h"

namespace proxyvpn::stack {
namespace {

constexpr milliseconds kTick{TCP_TMR_INTERVAL};
constexpr milliseconds kTimeWait{1000};  // 2 MSL of a path that is one machine long

}  // namespace

void LwipStack::update_busy(LwipFlow& flow) noexcept {
  const bool busy = flow.state_ != LwipFlow::State::Dead && flow.busy();
  if (busy == (flow.busy_index_ != LwipFlow::kNotBusy)) return;
  if (busy) {
    flow.busy_index_ = static_cast<std::uint32_t>(busy_.size());
    busy_.push_back(&flow);
    if (!tick_timer_.armed()) {
      // Nobody needed ticks until now: the clock of lwIP catches up.
      const auto missed = (timers_.now() - last_tick_) / (2 * kTick);
      if (missed > 0) tcp_ticks += static_cast<u32_t>(missed);
      last_tick_ = timers_.now();
      tick_timer_.arm(timers_, timers_.now() + kTick);
    }
    return;
  }
  LwipFlow* last = busy_.back();
  busy_[flow.busy_index_] = last;
  last->busy_index_ = flow.busy_index_;
  busy_.pop_back();
  flow.busy_index_ = LwipFlow::kNotBusy;
}

void LwipStack::tick() noexcept {
  last_tick_ = timers_.now();
  // Chain the busy pcbs: tcp_slowtmr() counts ticks per call, so it runs once for all of them.
  const std::vector<LwipFlow*> visited = busy_;
  tcp_active_pcbs = nullptr;
  for (LwipFlow* flow : visited) {
    tcp_pcb* pcb = flow->pcb_;
    // 2.1.3 leaves the persist timer on although nothing waits for a window, and asserts on it.
    if (pcb->persist_backoff > 0 && (pcb->unsent == nullptr || pcb->unacked != nullptr))
      pcb->persist_backoff = 0;
    pcb->next = tcp_active_pcbs;
    tcp_active_pcbs = pcb;
  }
  tcp_fasttmr();
  if ((slow_turn_ = !slow_turn_)) tcp_slowtmr();
  // Those that went told their flow through the error callback (pcb_ is null there).
  while (tcp_active_pcbs != nullptr) {
    tcp_pcb* next = tcp_active_pcbs->next;
    tcp_active_pcbs->next = nullptr;
    tcp_active_pcbs = next;
  }
  for (LwipFlow* flow : visited) {
    if (flow->pcb_ != nullptr && flow->unwritten_ > 0) {
      const Guard guard(*this, *flow);
      flow->push();
    } else {
      after(*flow);
    }
  }
  if (!busy_.empty()) tick_timer_.arm(timers_, timers_.now() + kTick);
  flush();
}

void LwipStack::enter_time_wait(LwipFlow& flow) noexcept {
  flow.state_ = LwipFlow::State::TimeWait;
  flow.deadline_ = timers_.now() + kTimeWait;
  flow.time_wait_index_ = time_wait_base_ + static_cast<std::uint32_t>(time_wait_.size());
  flow.events_ |= LwipFlow::kClosed;
  time_wait_.push_back(&flow);
  ++time_waits_;
  if (!time_wait_timer_.armed()) time_wait_timer_.arm(timers_, flow.deadline_);
}

void LwipStack::leave_time_wait(LwipFlow& flow, bool lingers) noexcept {
  time_wait_[flow.time_wait_index_ - time_wait_base_] = nullptr;
  --time_waits_;
  if (flow.pcb_ != nullptr) {
    const Guard guard(*this, flow);
    flow.state_ = LwipFlow::State::Dead;  // lwIP reports our own abort, which is not an event
    tcp_abort(flow.pcb_);                 // silent in TIME_WAIT
  }
  if (lingers) {
    flow.state_ = LwipFlow::State::Lingering;
    detach(flow);
  } else {
    remove(flow);
  }
}

void LwipStack::expire_time_wait() noexcept {
  while (!time_wait_.empty()) {
    LwipFlow* flow = time_wait_.front();
    if (flow != nullptr) {
      if (flow->deadline_ > timers_.now()) break;
      // Somebody still takes bytes: the flow stays for that, the connection is over.
      const bool lingers = flow->handler_ != nullptr;
      leave_time_wait(*flow, lingers);
    }
    time_wait_.pop_front();
    ++time_wait_base_;
  }
  if (!time_wait_.empty()) time_wait_timer_.arm(timers_, timers_.now() + kTimeWait / 4);
  if (!delivering_) graveyard_.clear();
}

}  // namespace proxyvpn::stack
