// --egress-guard, by the packets on the wire.
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>

#include "firewall/traffic_test_lab.h"

namespace proxyvpn::firewall {
namespace {

class EgressGuard : public TrafficTest {
 protected:
  void SetUp() override {
    TrafficTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    in_peer([this] { up_ = std::make_unique<Wire>("p0"); });
    firewall_ = opened(Backend::Nftables);
  }
  Policy guarded(bool port) const {
    Policy with = policy();
    (port ? with.guarded_ports : with.guarded_uplinks) = {"up0"};
    return with;
  }
  // A UDP packet as a packet socket sends it, past all inet hooks.
  static void send_frame(const Endpoint& to, const IpAddress& from, std::uint32_t mark) {
    const bool v4 = to.address.is_v4();
    std::vector<std::uint8_t> packet(v4 ? 28 : 48);
    packet[0] = v4 ? 0x45 : 0x60;
    packet[v4 ? 3 : 5] = v4 ? 28 : 8;
    packet[v4 ? 8 : 7] = 64;
    packet[v4 ? 9 : 6] = IPPROTO_UDP;
    const auto copy = [&](std::size_t at, const IpAddress& which) {
      std::copy(which.bytes().begin(), which.bytes().end(),
                packet.begin() + static_cast<std::ptrdiff_t>(at));
    };
    copy(v4 ? 12 : 8, from);
    copy(v4 ? 16 : 24, to.address);
    const std::size_t udp = v4 ? 20 : 40;
    packet[udp + 2] = static_cast<std::uint8_t>(to.port >> 8);
    packet[udp + 3] = static_cast<std::uint8_t>(to.port & 0xff);
    packet[udp + 5] = 8;
    const UniqueFd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(0, ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark));
    sockaddr_ll where{};
    where.sll_family = AF_PACKET;
    where.sll_protocol = htons(v4 ? ETH_P_IP : ETH_P_IPV6);
    where.sll_ifindex = static_cast<int>(::if_nametoindex("up0"));
    where.sll_halen = 6;
    std::fill_n(where.sll_addr, 6, std::uint8_t{0xff});
    // The guard drops it without telling the sender, or with ENOBUFS; the wire is the oracle.
    (void)::sendto(socket.get(), packet.data(), packet.size(), 0,
                   reinterpret_cast<sockaddr*>(&where), sizeof where);
  }
  const std::array<IpAddress, 2> own_{address("192.0.2.2"), address("2001:db8:1::2")};
  std::unique_ptr<Wire> up_;
  std::unique_ptr<Firewall> firewall_;
};

TEST_F(EgressGuard, PacketSocketsAreAHoleWithoutIt) {
  ASSERT_EQ("ok", outcome(firewall_->install(policy())));
  for (const std::size_t i : kBoth) {
    send_frame(web_[i], own_[i], 0);
    EXPECT_TRUE(up_->sees(web_[i]));
  }
}

TEST_F(EgressGuard, StopsPacketSocketsEvenWithTheRightMark) {
  for (const bool port : {false, true}) {
    const Policy with = guarded(port);
    ASSERT_EQ("ok", outcome(firewall_->install(with)));
    for (const std::size_t i : kBoth) {
      for (const std::uint32_t mark : {0U, with.marks.bypass, with.marks.inbound}) {
        send_frame(web_[i], own_[i], mark);
        // On a bridge's port nothing but the mark tells; that needs CAP_NET_RAW and intent.
        if (!port || mark != with.marks.inbound) {
          EXPECT_TRUE(up_->silent(web_[i])) << port << mark;
        }
        (void)up_->packets(web_[i], 60);
        send_frame(web_[i], web_[i].address, mark);
        EXPECT_TRUE(up_->silent(web_[i])) << "somebody else's source address";
      }
    }
  }
}

TEST_F(EgressGuard, LetsThroughWhatTheRulesLetThrough) {
  std::array<UniqueFd, 2> listeners;
  in_peer([&] {
    for (const std::size_t i : kBoth) listeners[i] = listen_tcp(proxies_[i]);
  });
  for (const bool port : {false, true}) {
    const Policy with = guarded(port);
    ASSERT_EQ("ok", outcome(firewall_->install(with)));
    text_of("ip neigh flush dev up0");  // ARP and neighbour discovery must pass
    for (const std::size_t i : kBoth) {
      EXPECT_EQ(0, send_udp(resolvers_[i]));
      EXPECT_TRUE(up_->sees(resolvers_[i])) << port;
      const UniqueFd socket = open_socket(proxies_[i].address, SOCK_STREAM);
      const std::uint32_t mark = with.marks.bypass;
      ASSERT_EQ(0, ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark));
      EXPECT_EQ(0, finish(socket, proxies_[i], 1000)) << port;
      EXPECT_EQ(EPERM, send_udp(web_[i]));
    }
    const Endpoint at = endpoint(port ? "192.0.2.2:2222" : "[2001:db8:1::2]:2222");
    const UniqueFd listener = listen_tcp(at);
    int result = -1;
    in_peer([&] { result = connect_tcp(at, 1000); });
    EXPECT_EQ(0, result) << "inbound";
  }
}

// A DHCP client without an address speaks through a packet socket.
TEST_F(EgressGuard, LetsDhcpThrough) {
  ASSERT_EQ("ok", outcome(firewall_->install(guarded(false))));
  const UniqueFd socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  std::array<std::uint8_t, 28> packet{0x45, 0, 0, 28, 0, 0, 0, 0, 64, IPPROTO_UDP};
  std::fill_n(packet.begin() + 16, 4, std::uint8_t{0xff});
  packet[21] = 68;
  packet[23] = 67;
  packet[25] = 8;
  sockaddr_ll where{};
  where.sll_family = AF_PACKET;
  where.sll_protocol = htons(ETH_P_IP);
  where.sll_ifindex = static_cast<int>(::if_nametoindex("up0"));
  where.sll_halen = 6;
  std::fill_n(where.sll_addr, 6, std::uint8_t{0xff});
  ASSERT_EQ(28, ::sendto(socket.get(), packet.data(), packet.size(), 0,
                         reinterpret_cast<sockaddr*>(&where), sizeof where));
  EXPECT_TRUE(up_->sees(endpoint("255.255.255.255:67")));
}

TEST_F(EgressGuard, StopsMacvlanGuests) {
  text_of("ip link add mac0 link up0 type macvlan mode bridge");
  // In a namespace of its own, where the host's inet rules do not apply.
  const UniqueFd guest = make_guest("mac0",
                                    "ip addr add 192.0.2.77/24 dev mac0; ip link set mac0 up; "
                                    "ip route add default via 192.0.2.1");
  in_namespace(guest, [&] { EXPECT_EQ(0, send_udp(web_[0])); });
  EXPECT_TRUE(up_->sees(web_[0])) << "without the guard";
  ASSERT_EQ("ok", outcome(firewall_->install(guarded(false))));
  in_namespace(guest, [&] { EXPECT_EQ(0, send_udp(web_[0])); });
  EXPECT_TRUE(up_->silent(web_[0])) << "with the guard";
  in_namespace(guest, [&] { EXPECT_EQ(ETIMEDOUT, connect_tcp(web_[0])); });
  EXPECT_TRUE(up_->silent(web_[0])) << "with the guard";
}

}  // namespace
}  // namespace proxyvpn::firewall
