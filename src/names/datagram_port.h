#pragma once
// What comes out of the TUN and is not TCP: DNS questions to our own addresses are answered, all
// other UDP gets "port unreachable" and a ping "prohibited", so that nobody waits for an answer
// that never comes (a browser falls back from QUIC to TCP at once).
#include <vector>

#include "base/ip.h"
#include "names/answerer.h"
#include "tun/ip_packet.h"
#include "tun/packet_io.h"

namespace proxyvpn::names {

class DatagramPort final : public tun::OtherPackets {
 public:
  // `servers`: where questions are answered, port 53. Neither `io` nor `answerer` is owned; both
  // outlive this and every answer that is still to come.
  DatagramPort(tun::PacketIo& io, Answerer& answerer, std::vector<IpAddress> servers)
      : io_(io), answerer_(answerer), servers_(std::move(servers)) {}
  void on_packet(std::span<const std::uint8_t> packet, bool checked) noexcept override;

 private:
  void on_udp(std::span<const std::uint8_t> packet, const tun::OtherPacket& other);
  void send(std::span<const std::uint8_t> packet) const noexcept;

  tun::PacketIo& io_;
  Answerer& answerer_;
  std::vector<IpAddress> servers_;
};

}  // namespace proxyvpn::names
