#pragma once
// Shows lwIP one flow's pcb for the length of a call. See lwip_stack.h.
#include <cassert>

#include "stack/lwip_stack.h"

namespace proxyvpn::stack {

class LwipStack::Guard {
 public:
  Guard(LwipStack& stack, LwipFlow& flow) noexcept
      : stack_(stack), flow_(flow), outer_(stack.current_) {
    if (outer_ == &flow_) return;  // nested calls for the same flow: lwIP sees it already
    assert(outer_ == nullptr);
    stack_.current_ = &flow_;
    tcp_active_pcbs = flow_.in_time_wait_ ? nullptr : flow_.pcb_;
    tcp_tw_pcbs = flow_.in_time_wait_ ? flow_.pcb_ : nullptr;
  }
  ~Guard() {
    if (outer_ == &flow_) return;
    flow_.in_time_wait_ = tcp_active_pcbs == nullptr && tcp_tw_pcbs != nullptr;
    flow_.pcb_ = flow_.in_time_wait_ ? tcp_tw_pcbs : tcp_active_pcbs;
    tcp_active_pcbs = nullptr;
    tcp_tw_pcbs = nullptr;
    stack_.current_ = nullptr;
    stack_.after(flow_);
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  LwipStack& stack_;
  LwipFlow& flow_;
  LwipFlow* outer_;
};

}  // namespace proxyvpn::stack
