// From the TUN into lwIP: parse, check, find the flow, filter, feed.
#include <algorithm>
#include <cstring>

#include "stack/lwip_guard.h"

namespace proxyvpn::stack {
namespace {

// Frames below this are copied into memory of their own size: a 64 KiB buffer must not be pinned by
// a keystroke. Above, they travel by reference.
constexpr std::size_t kCopyBelow = 2048;
// The same for a flow whose reader is behind: what waits there shall cost about what it holds.
constexpr std::size_t kCopyBelowWhenStalled = std::size_t{32} * 1024;

FlowKey key_of(const tun::TcpSegment& s) noexcept {
  FlowKey key{{{}, s.source_port}, {{}, s.destination_port}};
  if (s.family == Family::V4) {
    key.source.address = IpAddress::v4(std::span<const std::uint8_t, 4>(s.source, 4));
    key.destination.address = IpAddress::v4(std::span<const std::uint8_t, 4>(s.destination, 4));
  } else {
    key.source.address = IpAddress::v6(std::span<const std::uint8_t, 16>(s.source, 16));
    key.destination.address = IpAddress::v6(std::span<const std::uint8_t, 16>(s.destination, 16));
  }
  return key;
}

bool beyond(std::uint32_t a, std::uint32_t b) noexcept {
  return static_cast<std::int32_t>(a - b) > 0;
}

}  // namespace

void LwipStack::input(FrameBuffer* frame, std::size_t length) noexcept {
  const std::size_t offset = offloads_.vnet_header ? tun::kVnetHeader : 0;
  tun::TcpSegment segment;
  std::uint8_t* packet = frame->bytes + offset;
  const auto status = length < offset ? tun::ParseStatus::Malformed
                                      : tun::parse_tcp({packet, length - offset}, &segment);
  if (status != tun::ParseStatus::Tcp || segment.total > 0xffff ||
      checksum_wrong(packet, segment, offloads_.vnet_header ? frame->bytes[0] : 0)) {
    input_not_tcp(*frame, length, status);
    frames_.give(frame);
    return;
  }
  const FlowKey key = key_of(segment);
  const bool syn = (segment.flags & (tun::kSyn | tun::kAck | tun::kRst)) == tun::kSyn;
  LwipFlow* flow = flow_of_input(key, syn);
  if (flow == nullptr || flow->pcb_ == nullptr) {
    if (flow != nullptr && flow->state_ == LwipFlow::State::Held) {
      on_held(*flow, packet, segment);
    } else if (flow == nullptr && syn) {
      on_first_syn(key, packet, segment);
    } else if (flow == nullptr && (segment.flags & tun::kRst) == 0) {
      send_rst(key, segment);
    }
    frames_.give(frame);
    return;
  }
  if (outside_window(*flow, packet, segment)) {
    ++counters_.segments_outside;
    frames_.give(frame);
    return;
  }
  if (pbuf* p = hold(frame, offset, segment, flow->stalled_)) {
    feed(*flow, p, segment.ip_header);
  } else {
    ++counters_.no_memory;
  }
}

// What is no TCP segment, or a broken one.
void LwipStack::input_not_tcp(const FrameBuffer& frame, std::size_t length,
                              tun::ParseStatus status) noexcept {
  if (status != tun::ParseStatus::NotTcp) {
    ++counters_.packets_bad;
    return;
  }
  ++counters_.packets_other;
  if (other_packets_ == nullptr) return;
  const std::size_t offset = offloads_.vnet_header ? tun::kVnetHeader : 0;
  const bool checked =
      offset > 0 && (frame.bytes[0] & (tun::kNeedsChecksum | tun::kDataValid)) != 0;
  other_packets_->on_packet({frame.bytes + offset, length - offset}, checked);
}

LwipFlow* LwipStack::flow_of_input(const FlowKey& key, bool syn) noexcept {
  LwipFlow* flow = table_.find(key);
  if (flow == nullptr || !syn) return flow;
  // A SYN ends TIME_WAIT at once (RFC 9293 3.6.1, RFC 6191): the kernel reuses the port now.
  if (flow->state_ == LwipFlow::State::TimeWait) {
    leave_time_wait(*flow, flow->handler_ != nullptr);
    return nullptr;
  }
  if (flow->state_ == LwipFlow::State::Lingering) {
    detach(*flow);
    return nullptr;
  }
  return flow;
}

// The frame's packet, copied or by reference; the frame is the stack's no more. Null: no memory.
pbuf* LwipStack::hold(FrameBuffer* frame, std::size_t offset, const tun::TcpSegment& segment,
                      bool stalled) noexcept {
  if (segment.payload() >= (stalled ? kCopyBelowWhenStalled : kCopyBelow))
    return frames_.wrap(frame, offset, segment.total);
  pbuf* p = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(segment.total), PBUF_RAM);
  if (p != nullptr) std::memcpy(p->payload, frame->bytes + offset, segment.total);
  frames_.give(frame);
  return p;
}

bool LwipStack::checksum_wrong(const std::uint8_t* packet, const tun::TcpSegment& s,
                               std::uint8_t vnet_flags) noexcept {
  // NEEDS_CSUM: made on this machine, nothing was computed. DATA_VALID: the kernel has checked it.
  // Neither: forwarded, or a kernel without offloads; nobody has checked it yet.
  if ((vnet_flags & (tun::kNeedsChecksum | tun::kDataValid)) != 0) return false;
  const std::uint32_t length = s.total - s.ip_header;
  std::uint64_t sum =
      tun::pseudo_header_sum(s.family, s.source, s.destination, length, IP_PROTO_TCP);
  sum = tun::checksum_add(sum, {packet + s.ip_header, length});
  return tun::checksum_fold(sum) != 0xffff;
}

void LwipStack::on_first_syn(const FlowKey& key, const std::uint8_t* packet,
                             const tun::TcpSegment& s) noexcept {
  // RFC 9293 allows data on a SYN; without it here, the application's kernel simply repeats it.
  const std::size_t length = std::size_t{s.ip_header} + s.tcp_header;
  auto flow = std::unique_ptr<LwipFlow>(new (std::nothrow) LwipFlow(*this, key));
  if (flow) flow->syn_.reset(new (std::nothrow) std::uint8_t[length]);
  if (!flow || !flow->syn_ || !table_.insert(*flow)) {
    ++counters_.no_memory;
    return;
  }
  std::memcpy(flow->syn_.get(), packet, length);
  flow->syn_length_ = static_cast<std::uint16_t>(length);
  flow->syn_ip_header_ = s.ip_header;
  flow->held_isn_ = s.sequence;
  LwipFlow& held = *flow.release();  // from here on remove() gives it to the graveyard
  acceptor_.on_syn(held);
  if (held.state_ == LwipFlow::State::Held && held.handler_ == nullptr) remove(held);
}

void LwipStack::on_held(LwipFlow& flow, const std::uint8_t* packet,
                        const tun::TcpSegment& s) noexcept {
  const bool syn = (s.flags & tun::kSyn) != 0;
  if (syn && s.sequence == flow.held_isn_) {
    ++counters_.syns_held;  // the same attempt again: still being decided
    return;
  }
  if (!syn && (s.flags & tun::kRst) == 0) return;
  // Another attempt from the same port, or a reset: the first one is over.
  const FlowKey key = flow.key();
  FlowHandler* handler = flow.handler_;
  remove(flow);
  if (handler != nullptr) handler->on_reset();
  if (syn) on_first_syn(key, packet, s);
}

// What lwIP 2.1.3 gets wrong, kept away from it: out-of-order segments beyond the window's right
// edge are stored untrimmed, and a FIN taken over from the out-of-order queue trips its length
// arithmetic. The sender repeats what is dropped here.
bool LwipStack::outside_window(LwipFlow& flow, std::uint8_t* packet,
                               const tun::TcpSegment& s) noexcept {
  const tcp_pcb* pcb = flow.pcb_;
  if (flow.in_time_wait_ || pcb->state < SYN_RCVD) return false;
  constexpr std::uint8_t kBoth = tun::kSyn | tun::kAck;
  if ((s.flags & kBoth) == kBoth) return true;
  const std::uint32_t length = s.payload() + ((s.flags & tun::kFin) != 0 ? 1U : 0U);
  if (length > 0 && beyond(s.sequence + length, pcb->rcv_nxt + pcb->rcv_wnd)) {
    const Guard guard(*this, flow);
    tcp_ack_now(flow.pcb_);  // answers zero window probes too
    tcp_output(flow.pcb_);
    return true;
  }
  if ((s.flags & tun::kFin) != 0 && beyond(s.sequence, pcb->rcv_nxt)) {
    packet[s.ip_header + 13U] &= static_cast<std::uint8_t>(~tun::kFin);
  }
  // RFC 5961 3.2: a reset counts only exactly at the next expected byte.
  return (s.flags & tun::kRst) != 0 && s.sequence != pcb->rcv_nxt && pcb->state != SYN_RCVD;
}

void LwipStack::feed(LwipFlow& flow, pbuf* p, std::uint16_t ip_header) noexcept {
  const bool v6 = flow.key_.source.address.is_v6();
  ip_data.current_netif = &interface_;
  ip_data.current_input_netif = &interface_;
  ip_data.current_ip4_header = v6 ? nullptr : static_cast<const ip_hdr*>(p->payload);
  ip_data.current_ip6_header = v6 ? static_cast<ip6_hdr*>(p->payload) : nullptr;
  ip_data.current_ip_header_tot_len = ip_header;
  ip_data.current_iphdr_src = to_lwip(flow.key_.source.address);
  ip_data.current_iphdr_dest = to_lwip(flow.key_.destination.address);
  pbuf_remove_header(p, ip_header);
  const Guard guard(*this, flow);
  tcp_input(p, &interface_);
}

void LwipStack::open(LwipFlow& flow) noexcept {
  pbuf* p = pbuf_alloc(PBUF_RAW, flow.syn_length_, PBUF_RAM);
  if (p == nullptr) {
    ++counters_.no_memory;
    return;  // the SYN's repetition comes back here through accept()
  }
  std::memcpy(p->payload, flow.syn_.get(), flow.syn_length_);
  const bool crowded = table_.size() > limits_.crowd;
  flow.window_ =
      std::min<std::uint32_t>(crowded ? limits_.crowded_window : limits_.base_window, 65535);
  flow.state_ = LwipFlow::State::Open;
  listener_->local_port = flow.key_.destination.port;
  {
    const Guard guard(*this, flow);
    feed(flow, p, flow.syn_ip_header_);
    if (tcp_active_pcbs != nullptr) {
      flow.pcb_ = tcp_active_pcbs;
      set_up(flow);
    }
  }
  if (flow.pcb_ == nullptr) {
    // lwIP had no memory for a pcb. Nothing was answered; the handler hears of it as a reset.
    ++counters_.no_memory;
    mark(flow, LwipFlow::kReset);
    return;
  }
  flow.syn_.reset();
}

}  // namespace proxyvpn::stack
