#pragma once
// The oracle of this room's traffic tests: what appears on a link.
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/ip.h"
#include "base/unique_fd.h"

namespace proxyvpn::firewall {

inline constexpr std::array<std::size_t, 2> kBoth{0, 1};  // IPv4 and IPv6

// Frames on a link, as a packet socket sees them. Only IPv4 and IPv6 packets are looked at.
class Wire {
 public:
  // Opened in the namespace that the calling thread is in.
  explicit Wire(const char* link) : socket_(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_ll where{};
    where.sll_family = AF_PACKET;
    where.sll_protocol = htons(ETH_P_ALL);
    where.sll_ifindex = static_cast<int>(::if_nametoindex(link));
    EXPECT_NE(0, where.sll_ifindex) << link;
    EXPECT_EQ(0, ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&where), sizeof where));
  }
  // Packets to `to` that come within `wait_ms` of silence.
  int packets(const Endpoint& to, int wait_ms) {
    int count = 0;
    std::array<std::uint8_t, 2048> frame{};
    pollfd wait{socket_.get(), POLLIN, 0};
    while (::poll(&wait, 1, wait_ms) == 1) {
      sockaddr_ll from{};
      socklen_t length = sizeof from;
      const ssize_t got = ::recvfrom(socket_.get(), frame.data(), frame.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &length);
      if (got > 0 && from.sll_pkttype != PACKET_OUTGOING &&
          is_to(frame.data(), static_cast<std::size_t>(got), to))
        ++count;
    }
    return count;
  }
  bool sees(const Endpoint& to) { return packets(to, 500) > 0; }
  bool silent(const Endpoint& to) { return packets(to, 60) == 0; }

 private:
  static bool is_to(const std::uint8_t* packet, std::size_t length, const Endpoint& to) {
    const auto bytes = to.address.bytes();
    const bool v4 = to.address.is_v4();
    const std::size_t header = v4 ? 20 : 40;
    if (length < header + 4 || packet[0] >> 4 != (v4 ? 4 : 6)) return false;
    const unsigned port = (unsigned{packet[header + 2]} << 8) | packet[header + 3];
    return std::memcmp(packet + (v4 ? 16 : 24), bytes.data(), bytes.size()) == 0 && port == to.port;
  }
  UniqueFd socket_;
};

}  // namespace proxyvpn::firewall
