#pragma once
// The application's side of one connection, packet by packet: builds what its kernel would send and
// reads what the stack answers. Checks every checksum that the stack is responsible for.
#include <netinet/in.h>

#include <cstring>
#include <optional>
#include <vector>

#include "stack/tcp_flow.h"
#include "testing/fake_packet_io.h"
#include "tun/ip_packet.h"

namespace proxyvpn::testing {

struct Segment {
  std::uint8_t flags = 0;
  std::uint32_t sequence = 0;
  std::uint32_t acknowledgement = 0;
  std::uint16_t window = 0;
  std::uint16_t gso_size = 0;
  std::vector<std::uint8_t> payload;
  Endpoint source;
  Endpoint destination;
  bool checksum_right = false;
};

inline void put16(std::vector<std::uint8_t>& out, std::size_t at, std::uint16_t value) {
  out[at] = static_cast<std::uint8_t>(value >> 8);
  out[at + 1] = static_cast<std::uint8_t>(value);
}
inline void put32(std::vector<std::uint8_t>& out, std::size_t at, std::uint32_t value) {
  put16(out, at, static_cast<std::uint16_t>(value >> 16));
  put16(out, at + 2, static_cast<std::uint16_t>(value));
}

inline std::vector<std::uint8_t> build_packet(const stack::FlowKey& key, std::uint8_t flags,
                                              std::uint32_t sequence, std::uint32_t acknowledgement,
                                              std::uint16_t window,
                                              const std::vector<std::uint8_t>& options,
                                              const std::vector<std::uint8_t>& payload) {
  const bool v4 = key.source.address.is_v4();
  const std::size_t ip = v4 ? 20 : 40;
  const std::size_t tcp = 20 + options.size();
  std::vector<std::uint8_t> p(ip + tcp);
  const auto total = static_cast<std::uint16_t>(tcp + payload.size());
  if (v4) {
    p[0] = 0x45, p[8] = 64, p[9] = 6;
    put16(p, 2, static_cast<std::uint16_t>(total + 20));
  } else {
    p[0] = 0x60, p[6] = 6, p[7] = 64;
    put16(p, 4, total);
  }
  const auto from = key.source.address.bytes();
  const auto to = key.destination.address.bytes();
  std::memcpy(&p[v4 ? 12 : 8], from.data(), from.size());
  std::memcpy(&p[v4 ? 16 : 24], to.data(), to.size());
  put16(p, ip, key.source.port);
  put16(p, ip + 2, key.destination.port);
  put32(p, ip + 4, sequence);
  put32(p, ip + 8, acknowledgement);
  p[ip + 12] = static_cast<std::uint8_t>((tcp / 4) << 4);
  p[ip + 13] = flags;
  put16(p, ip + 14, window);
  std::copy(options.begin(), options.end(), p.begin() + static_cast<std::ptrdiff_t>(ip) + 20);
  p.insert(p.end(), payload.begin(), payload.end());
  std::uint64_t sum = tun::pseudo_header_sum(key.source.address.family(), &p[v4 ? 12 : 8],
                                             &p[v4 ? 16 : 24], total, 6);
  sum = tun::checksum_add(sum, {p.data() + ip, p.size() - ip});
  const auto check = static_cast<std::uint16_t>(~tun::checksum_fold(sum));
  std::memcpy(&p[ip + 16], &check, 2);
  return p;
}

// Reads one TCP frame that the stack wrote; empty for anything else (ICMP).
inline std::optional<Segment> read_frame(const std::vector<std::uint8_t>& frame,
                                         const tun::Offloads& offloads) {
  tun::VnetHeader header;
  std::size_t at = 0;
  if (offloads.vnet_header) {
    std::memcpy(&header, frame.data(), sizeof header);
    at = sizeof header;
  }
  tun::TcpSegment parsed;
  if (tun::parse_tcp({frame.data() + at, frame.size() - at}, &parsed) != tun::ParseStatus::Tcp)
    return std::nullopt;
  const std::uint8_t* packet = frame.data() + at;
  Segment s;
  s.flags = parsed.flags;
  s.sequence = parsed.sequence;
  s.acknowledgement = parsed.acknowledgement;
  s.gso_size = header.gso_size;
  s.window = static_cast<std::uint16_t>((packet[parsed.ip_header + 14] << 8) |
                                        packet[parsed.ip_header + 15]);
  s.payload.assign(packet + parsed.ip_header + parsed.tcp_header, packet + parsed.total);
  const auto address = [&](const std::uint8_t* p) {
    return parsed.family == Family::V4 ? IpAddress::v4(std::span<const std::uint8_t, 4>(p, 4))
                                       : IpAddress::v6(std::span<const std::uint8_t, 16>(p, 16));
  };
  s.source = {address(parsed.source), parsed.source_port};
  s.destination = {address(parsed.destination), parsed.destination_port};
  const std::uint32_t length = parsed.total - parsed.ip_header;
  const auto pseudo =
      tun::pseudo_header_sum(parsed.family, parsed.source, parsed.destination, length, 6);
  if ((header.flags & tun::kNeedsChecksum) != 0) {
    std::uint16_t stored = 0;
    std::memcpy(&stored, packet + parsed.ip_header + 16, 2);
    s.checksum_right = stored == tun::checksum_fold(pseudo) &&
                       header.checksum_start == parsed.ip_header && header.checksum_offset == 16;
  } else {
    const auto sum = tun::checksum_add(pseudo, {packet + parsed.ip_header, length});
    s.checksum_right = tun::checksum_fold(sum) == 0xffff;
  }
  return s;
}

class TcpPeer {
 public:
  TcpPeer(FakePacketIo& io, stack::FlowKey key, std::uint32_t isn = 1000)
      : io_(io), key_(key), next(isn) {}

  // MSS 1460, SACK permitted, window scale 7: what Linux sends.
  void syn() {
    send(tun::kSyn, {2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 0, 0});
    ++next;
  }
  void repeat_syn() {
    --next;
    syn();
  }
  void send(std::uint8_t flags, const std::vector<std::uint8_t>& options = {},
            const std::vector<std::uint8_t>& payload = {},
            tun::VnetHeader header = {tun::kNeedsChecksum, 0, 0, 0, 0, 0}) {
    io_.push(build_packet(key_, flags, next, expected, window, options, payload), header);
  }
  void ack() { send(tun::kAck); }
  void data(const std::vector<std::uint8_t>& bytes) {
    send(tun::kAck, {}, bytes);
    next += static_cast<std::uint32_t>(bytes.size());
  }
  void fin() {
    send(tun::kAck | tun::kFin);
    ++next;
  }
  void reset() { send(tun::kRst | tun::kAck); }

  // Takes the next segment that the stack sent on this connection, and follows its sequence
  // numbers.
  std::optional<Segment> take() {
    while (!io_.outgoing.empty()) {
      const auto frame = std::move(io_.outgoing.front());
      io_.outgoing.pop_front();
      auto s = read_frame(frame, io_.offloads());
      if (!s || s->source != key_.destination || s->destination != key_.source) continue;
      const auto length = static_cast<std::uint32_t>(s->payload.size()) +
                          ((s->flags & tun::kSyn) != 0 ? 1U : 0U) +
                          ((s->flags & tun::kFin) != 0 ? 1U : 0U);
      if ((s->flags & tun::kSyn) != 0) expected = s->sequence;
      if (s->sequence == expected) expected += length;
      return s;
    }
    return std::nullopt;
  }

 private:
  FakePacketIo& io_;
  stack::FlowKey key_;

 public:
  std::uint32_t next;          // sequence number of the next byte it sends
  std::uint32_t expected = 0;  // and of the next byte it waits for
  std::uint16_t window = 65535;
};

}  // namespace proxyvpn::testing
