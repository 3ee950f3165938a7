#pragma once
// TcpStack on unpatched lwIP 2.1.3, one per process (lwIP's state is global).
//
// lwIP's own lists would make every packet O(flows). Instead each call into lwIP sees a list of
// one: enter() puts this flow's pcb at the head of lwIP's (otherwise empty) list, leave() takes it
// back. Demultiplexing is our FlowTable; timers visit only flows that have something pending.
#include <algorithm>
#include <deque>
#include <memory>
#include <unordered_set>
#include <vector>

#include "stack/buffers.h"
#include "stack/flow_table.h"
#include "stack/lwip_flow.h"
#include "stack/tcp_stack.h"
#include "stack/upload_share.h"
#include "tun/ip_packet.h"

namespace proxyvpn::stack {

class LwipStack final : public TcpStack {
 public:
  // All three are not owned and must outlive the stack.
  LwipStack(tun::PacketIo& io, FlowAcceptor& acceptor, event::TimerQueue& timers,
            StackLimits limits);
  ~LwipStack() override;
  LwipStack(const LwipStack&) = delete;
  LwipStack& operator=(const LwipStack&) = delete;

  // What is not TCP goes there instead of being dropped. Not owned; null again: dropped.
  void set_other_packets(tun::OtherPackets* handler) noexcept { other_packets_ = handler; }

  bool drain() noexcept override;
  void flush() noexcept override;
  void trim() noexcept override {
    frames_.trim();
    chunks_.trim();
  }
  void abort_all() noexcept override;
  [[nodiscard]] std::size_t flows() const noexcept override {
    return table_.size() + detached_.size() - time_waits_;
  }
  [[nodiscard]] std::uint64_t buffered_bytes() const noexcept override;
  [[nodiscard]] const StackCounters& counters() const noexcept override { return counters_; }
  // For tests: pcbs in TIME_WAIT, flows that keep the timers running.
  [[nodiscard]] std::size_t time_waits() const noexcept { return time_waits_; }
  [[nodiscard]] std::size_t busy_flows() const noexcept { return busy_.size(); }

 private:
  friend class LwipFlow;
  friend struct LwipCallbacks;
  class Guard;

  // input.cc
  void input(FrameBuffer* frame, std::size_t length) noexcept;
  void input_not_tcp(const FrameBuffer& frame, std::size_t length,
                     tun::ParseStatus status) noexcept;
  // The flow that a segment belongs to; null also when it is a SYN that ends what was there.
  LwipFlow* flow_of_input(const FlowKey& key, bool syn) noexcept;
  pbuf* hold(FrameBuffer* frame, std::size_t offset, const tun::TcpSegment& segment,
             bool stalled) noexcept;
  bool checksum_wrong(const std::uint8_t* packet, const tun::TcpSegment& segment,
                      std::uint8_t vnet_flags) noexcept;
  void on_first_syn(const FlowKey& key, const std::uint8_t* packet,
                    const tun::TcpSegment& segment) noexcept;
  void on_held(LwipFlow& flow, const std::uint8_t* packet, const tun::TcpSegment& segment) noexcept;
  bool outside_window(LwipFlow& flow, std::uint8_t* packet,
                      const tun::TcpSegment& segment) noexcept;
  void feed(LwipFlow& flow, pbuf* p, std::uint16_t ip_header) noexcept;
  void open(LwipFlow& flow) noexcept;  // feeds the held SYN
  void set_up(LwipFlow& flow) noexcept;

  // output.cc
  static signed char output_v4(netif* interface, pbuf* p, const ip4_addr_t* destination);
  static signed char output_v6(netif* interface, pbuf* p, const ip6_addr_t* destination);
  void output(pbuf* p, Family family) noexcept;
  void finish_checksum(pbuf* p, const tun::TcpSegment& segment) noexcept;
  [[nodiscard]] LwipFlow* flow_of_output(const tun::TcpSegment& segment) noexcept;
  void send_rst(const FlowKey& key, const tun::TcpSegment& segment) noexcept;
  void send_unreachable(const LwipFlow& flow, Refusal how) noexcept;
  void send_raw(std::span<const std::uint8_t> packet) noexcept;

  void mark(LwipFlow& flow, std::uint8_t events) noexcept;
  void deliver(LwipFlow& flow) noexcept;
  void ack_later(LwipFlow& flow) noexcept;
  void send_acks() noexcept;
  void remove(LwipFlow& flow) noexcept;  // out of every list; freed at the next flush
  void after(LwipFlow& flow) noexcept;   // what a call into lwIP has changed about the flow
  void enter_time_wait(LwipFlow& flow) noexcept;
  void leave_time_wait(LwipFlow& flow, bool lingers) noexcept;
  void detach(LwipFlow& flow) noexcept;  // its place in the table is free for a new connection
  void update_busy(LwipFlow& flow) noexcept;
  void tick() noexcept;
  void expire_time_wait() noexcept;
  [[nodiscard]] bool grow_window(std::uint32_t by) noexcept;
  // How large a flow's window may be now, beyond its base.
  [[nodiscard]] std::uint32_t window_limit() const noexcept {
    return std::min(limits_.largest_window, uploads_.each());
  }

  static LwipStack* the_stack;
  tun::PacketIo& io_;
  tun::OtherPackets* other_packets_ = nullptr;
  FlowAcceptor& acceptor_;
  event::TimerQueue& timers_;
  StackLimits limits_;
  tun::Offloads offloads_;
  StackCounters counters_;
  FramePool frames_;
  ChunkPool chunks_;
  FlowTable table_;
  UploadShare uploads_;
  netif interface_{};
  tcp_pcb_listen* listener_ = nullptr;
  LwipFlow* current_ = nullptr;   // whose pcb lwIP sees now
  std::vector<LwipFlow*> dirty_;  // have events to be told
  std::vector<LwipFlow*> acks_;   // have an acknowledgement due at the end of the batch
  std::vector<LwipFlow*> busy_;
  std::vector<std::unique_ptr<LwipFlow>> graveyard_;
  std::unordered_set<LwipFlow*> detached_;  // lingering flows that are not in the table any more
  std::deque<LwipFlow*> time_wait_;         // oldest first; null where one went early
  std::uint32_t time_wait_base_ = 0;        // index of the deque's front, counted from the start
  std::size_t time_waits_ = 0;
  event::Timer tick_timer_;
  event::Timer time_wait_timer_;
  TimePoint last_tick_{};
  std::uint64_t granted_ = 0;    // bytes by which windows have grown beyond their base
  std::uint64_t rx_copied_ = 0;  // bytes in exact copies of small frames
  unsigned lone_ = 0;            // batches of one frame in a row, up to kLoneReads
  bool slow_turn_ = false;
  bool delivering_ = false;
};

}  // namespace proxyvpn::stack
