// From lwIP (and from refused flows) to the TUN: virtio header, checksums, ICMP.
#include <arpa/inet.h>

#include <array>
#include <cstring>

#include "stack/lwip_guard.h"

namespace proxyvpn::stack {
namespace {

constexpr std::size_t kMostPieces = 128;  // pbufs in one frame, beyond which it is copied together
constexpr std::size_t kWindowOffset = 14;
constexpr std::size_t kChecksumOffset = 16;

void store16(std::uint8_t* p, std::uint16_t network_order) noexcept {
  std::memcpy(p, &network_order, 2);
}

FlowKey reversed_key(const tun::TcpSegment& s) noexcept {
  const auto address = [&](const std::uint8_t* p) {
    return s.family == Family::V4 ? IpAddress::v4(std::span<const std::uint8_t, 4>(p, 4))
                                  : IpAddress::v6(std::span<const std::uint8_t, 16>(p, 16));
  };
  return {{address(s.destination), s.destination_port}, {address(s.source), s.source_port}};
}

struct IcmpCode {
  std::uint8_t type;
  std::uint8_t code;
};

// RFC 792 / RFC 1812 5.2.7.1 and RFC 4443 3.1. What Linux makes of each: docs/architecture.md.
IcmpCode icmp_code(Refusal how, Family family) noexcept {
  const bool v4 = family == Family::V4;
  switch (how) {
    case Refusal::NetworkUnreachable:
      return v4 ? IcmpCode{3, 0} : IcmpCode{1, 0};
    case Refusal::Prohibited:
      return v4 ? IcmpCode{3, 13} : IcmpCode{1, 3};
    case Refusal::HostUnreachable:
    case Refusal::Refused:
    case Refusal::Silent:
      break;
  }
  return v4 ? IcmpCode{3, 1} : IcmpCode{1, 3};
}

// An IP header from `source` to `destination` with `payload` bytes behind it. Answers its length.
std::size_t write_ip_header(std::uint8_t* out, const IpAddress& source,
                            const IpAddress& destination, std::uint8_t protocol,
                            std::size_t payload) noexcept {
  const auto from = source.bytes();
  const auto to = destination.bytes();
  if (source.is_v4()) {
    std::memset(out, 0, 20);
    out[0] = 0x45;
    store16(out + 2, htons(static_cast<std::uint16_t>(20 + payload)));
    out[6] = 0x40;  // don't fragment
    out[8] = 64;
    out[9] = protocol;
    std::memcpy(out + 12, from.data(), 4);
    std::memcpy(out + 16, to.data(), 4);
    store16(out + 10,
            static_cast<std::uint16_t>(~tun::checksum_fold(tun::checksum_add(0, {out, 20}))));
    return 20;
  }
  std::memset(out, 0, 40);
  out[0] = 0x60;
  store16(out + 4, htons(static_cast<std::uint16_t>(payload)));
  out[6] = protocol;
  out[7] = 64;
  std::memcpy(out + 8, from.data(), 16);
  std::memcpy(out + 24, to.data(), 16);
  return 40;
}

}  // namespace

signed char LwipStack::output_v4(netif*, pbuf* p, const ip4_addr_t*) {
  the_stack->output(p, Family::V4);
  return ERR_OK;
}

signed char LwipStack::output_v6(netif*, pbuf* p, const ip6_addr_t*) {
  the_stack->output(p, Family::V6);
  return ERR_OK;
}

LwipFlow* LwipStack::flow_of_output(const tun::TcpSegment& segment) noexcept {
  // Timers run over many flows at once: then the packet itself tells whose it is.
  return current_ != nullptr ? current_ : table_.find(reversed_key(segment));
}

void LwipStack::output(pbuf* p, Family family) noexcept {
  auto* bytes = static_cast<std::uint8_t*>(p->payload);
  tun::TcpSegment s;
  s.family = family;
  s.ip_header = family == Family::V4 ? 20 : 40;
  s.total = p->tot_len;
  s.source = bytes + (family == Family::V4 ? 12 : 8);
  s.destination = bytes + (family == Family::V4 ? 16 : 24);
  std::uint8_t* tcp = bytes + s.ip_header;
  s.tcp_header = static_cast<std::uint16_t>((tcp[12] >> 4) * 4);
  s.flags = tcp[13];
  s.source_port = static_cast<std::uint16_t>((tcp[0] << 8) | tcp[1]);
  s.destination_port = static_cast<std::uint16_t>((tcp[2] << 8) | tcp[3]);

  if (current_ != nullptr) current_->ack_due_ = false;  // every segment acknowledges
  tun::VnetHeader header;
  const LwipFlow* flow = nullptr;
  if ((s.flags & tun::kSyn) != 0 && (flow = flow_of_output(s)) != nullptr) {
    // Unscaled in a SYN (RFC 7323 2.2); lwIP would announce more than this flow starts with.
    store16(tcp + kWindowOffset, htons(static_cast<std::uint16_t>(flow->window_)));
  }
  if (offloads_.segmentation && s.payload() > 0 && (flow = flow_of_output(s)) != nullptr &&
      s.payload() > flow->peer_mss_) {
    header.gso_type = family == Family::V4 ? tun::kGsoTcpV4 : tun::kGsoTcpV6;
    header.gso_size = flow->peer_mss_;
    header.header_length = static_cast<std::uint16_t>(s.ip_header + s.tcp_header);
  }
  if (offloads_.checksum) {
    header.flags = tun::kNeedsChecksum;
    header.checksum_start = s.ip_header;
    header.checksum_offset = kChecksumOffset;
    const auto sum = tun::pseudo_header_sum(family, s.source, s.destination, s.total - s.ip_header,
                                            IP_PROTO_TCP);
    store16(tcp + kChecksumOffset, tun::checksum_fold(sum));
  } else {
    finish_checksum(p, s);
  }

  std::array<iovec, kMostPieces + 1> pieces;
  std::size_t n = 0;
  if (offloads_.vnet_header) pieces[n++] = {&header, sizeof header};
  const pbuf* piece = p;
  for (; piece != nullptr && n < pieces.size(); piece = piece->next) {
    if (piece->len > 0) pieces[n++] = {piece->payload, piece->len};
  }
  if (piece != nullptr) return;  // cut off: as good as lost, and repeated by the timers
  // WouldBlock and Failed are lost packets: TCP repeats them.
  if (io_.write({pieces.data(), n}) == tun::IoStatus::Ok) ++counters_.packets_out;
}

void LwipStack::finish_checksum(pbuf* p, const tun::TcpSegment& s) noexcept {
  auto* tcp = static_cast<std::uint8_t*>(p->payload) + s.ip_header;
  store16(tcp + kChecksumOffset, 0);
  std::uint64_t sum = tun::pseudo_header_sum(s.family, s.source, s.destination,
                                             s.total - s.ip_header, IP_PROTO_TCP);
  std::size_t skip = s.ip_header;
  bool odd = false;
  for (const pbuf* piece = p; piece != nullptr; piece = piece->next) {
    const auto* from = static_cast<const std::uint8_t*>(piece->payload) + skip;
    const std::size_t length = piece->len - skip;
    skip = 0;
    std::uint16_t part = tun::checksum_fold(tun::checksum_add(0, {from, length}));
    // A piece that starts at an odd offset contributes with its bytes swapped (RFC 1071 section 2
    // B).
    if (odd) part = static_cast<std::uint16_t>((part << 8) | (part >> 8));
    sum += part;
    odd = odd != (length % 2 == 1);
  }
  store16(tcp + kChecksumOffset, static_cast<std::uint16_t>(~tun::checksum_fold(sum)));
}

void LwipStack::send_raw(std::span<const std::uint8_t> packet) noexcept {
  tun::VnetHeader header;  // all zero: the checksums are complete
  std::array<iovec, 2> pieces;
  std::size_t n = 0;
  if (offloads_.vnet_header) pieces[n++] = {&header, sizeof header};
  pieces[n++] = {const_cast<std::uint8_t*>(packet.data()), packet.size()};
  if (io_.write({pieces.data(), n}) == tun::IoStatus::Ok) ++counters_.packets_out;
}

// RFC 9293 3.10.7.1: the answer to a segment that belongs to no connection.
void LwipStack::send_rst(const FlowKey& key, const tun::TcpSegment& s) noexcept {
  std::uint8_t packet[60];
  const std::size_t ip =
      write_ip_header(packet, key.destination.address, key.source.address, IP_PROTO_TCP, 20);
  std::uint8_t* tcp = packet + ip;
  std::memset(tcp, 0, 20);
  store16(tcp, htons(key.destination.port));
  store16(tcp + 2, htons(key.source.port));
  tcp[12] = 5 << 4;
  const bool has_ack = (s.flags & tun::kAck) != 0;
  const std::uint32_t length =
      s.payload() + ((s.flags & tun::kSyn) != 0 ? 1U : 0U) + ((s.flags & tun::kFin) != 0 ? 1U : 0U);
  const std::uint32_t sequence = htonl(has_ack ? s.acknowledgement : 0);
  const std::uint32_t acknowledgement = htonl(has_ack ? 0 : s.sequence + length);
  std::memcpy(tcp + 4, &sequence, 4);
  std::memcpy(tcp + 8, &acknowledgement, 4);
  tcp[13] = has_ack ? tun::kRst : tun::kRst | tun::kAck;
  const std::size_t a = key.source.address.is_v4() ? 4 : 16;
  const std::uint8_t* addresses = packet + (key.source.address.is_v4() ? 12 : 8);
  std::uint64_t sum = tun::pseudo_header_sum(key.source.address.family(), addresses, addresses + a,
                                             20, IP_PROTO_TCP);
  sum = tun::checksum_add(sum, {tcp, 20});
  store16(tcp + kChecksumOffset, static_cast<std::uint16_t>(~tun::checksum_fold(sum)));
  send_raw({packet, ip + 20});
}

void LwipStack::send_unreachable(const LwipFlow& flow, Refusal how) noexcept {
  if (how == Refusal::Silent || !flow.syn_) return;
  if (how == Refusal::Refused) {
    tun::TcpSegment syn;
    syn.flags = tun::kSyn;
    syn.sequence = flow.held_isn_;
    send_rst(flow.key_, syn);
    return;
  }
  // RFC 792: the original header and 8 bytes at least; RFC 4443 2.4(c): as much as fits. The SYN
  // fits whole.
  const Family family = flow.key_.source.address.family();
  const auto [type, code] = icmp_code(how, family);
  const bool v4 = family == Family::V4;
  std::uint8_t packet[512];
  const std::size_t original = std::min<std::size_t>(flow.syn_length_, 400);
  const std::size_t length = 8 + original;
  const auto protocol = static_cast<std::uint8_t>(v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6});
  const std::size_t ip = write_ip_header(packet, flow.key_.destination.address,
                                         flow.key_.source.address, protocol, length);
  std::uint8_t* icmp = packet + ip;
  std::memset(icmp, 0, 8);
  icmp[0] = type;
  icmp[1] = code;
  std::memcpy(icmp + 8, flow.syn_.get(), original);
  std::uint64_t sum = 0;
  if (!v4)
    sum = tun::pseudo_header_sum(family, packet + 8, packet + 24,
                                 static_cast<std::uint32_t>(length), protocol);
  sum = tun::checksum_add(sum, {icmp, length});
  store16(icmp + 2, static_cast<std::uint16_t>(~tun::checksum_fold(sum)));
  send_raw({packet, ip + length});
}

}  // namespace proxyvpn::stack
