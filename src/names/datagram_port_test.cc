#include "names/datagram_port.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "testing/addresses.h"
#include "testing/fake_packet_io.h"
#include "tun/reply_packet.h"

namespace proxyvpn::names {
namespace {

using testing::at;

using Bytes = std::vector<std::uint8_t>;

// Says the question again, with an exclamation mark.
class LoudEcho final : public Answerer {
 public:
  void ask(std::span<const std::uint8_t> message, Transport transport, Done done) override {
    EXPECT_EQ(transport, Transport::Datagram);
    Bytes answer(message.begin(), message.end());
    answer.push_back('!');
    ++asked;
    done(answer);
  }
  int asked = 0;
};

struct Port {
  testing::FakePacketIo io{{true, true, true}};
  LoudEcho echo;
  DatagramPort port{io, echo, {at("10.0.0.2:53").address, at("[fd00::2]:53").address}};

  // The one packet that comes back, without its virtio header; empty: nothing.
  Bytes send(const Bytes& packet, bool checked = false) {
    io.outgoing.clear();
    port.on_packet(packet, checked);
    if (io.outgoing.empty()) return {};
    EXPECT_EQ(io.outgoing.size(), 1U);
    const Bytes& frame = io.outgoing.front();
    EXPECT_EQ(Bytes(frame.begin(), frame.begin() + tun::kVnetHeader), Bytes(tun::kVnetHeader));
    return {frame.begin() + tun::kVnetHeader, frame.end()};
  }
};

TEST(DatagramPort, AnswersQuestionsToItsAddresses) {
  Port port;
  for (const auto& [client, server] : {std::pair{at("10.0.0.1:999"), at("10.0.0.2:53")},
                                       std::pair{at("[fd00::1]:999"), at("[fd00::2]:53")}}) {
    const Bytes back = port.send(tun::build_udp(client, server, Bytes{'h', 'i'}));
    EXPECT_EQ(back, tun::build_udp(server, client, Bytes{'h', 'i', '!'}));
  }
  EXPECT_EQ(port.echo.asked, 2);
}

TEST(DatagramPort, RefusesOtherDatagramsAtOnce) {
  Port port;
  for (const char* to : {"10.0.0.2:54", "192.0.2.1:53", "192.0.2.1:443"}) {
    const Bytes back = port.send(tun::build_udp(at("10.0.0.1:999"), at(to), Bytes{1}));
    tun::OtherPacket icmp;
    ASSERT_EQ(tun::parse_other(back, &icmp), tun::ParseStatus::NotTcp) << to;
    EXPECT_EQ(icmp.protocol, IPPROTO_ICMP);
    EXPECT_EQ(back[icmp.ip_header], 3);
    EXPECT_EQ(back[icmp.ip_header + 1U], 3);
  }
  EXPECT_EQ(port.echo.asked, 0);
}

TEST(DatagramPort, DropsWhatIsDamagedUnlessTheKernelVouchesForIt) {
  Port port;
  Bytes packet = tun::build_udp(at("10.0.0.1:999"), at("10.0.0.2:53"), Bytes{'h', 'i'});
  packet.back() ^= 1;
  EXPECT_TRUE(port.send(packet).empty());
  EXPECT_FALSE(port.send(packet, true).empty());
}

TEST(DatagramPort, APingIsProhibitedAndAnErrorIsNotAnswered) {
  Port port;
  const Bytes udp = tun::build_udp(at("10.0.0.1:999"), at("192.0.2.1:9"), Bytes(40));
  Bytes ping = udp;
  ping[9] = IPPROTO_ICMP;
  ping[20] = 8;
  const Bytes back = port.send(ping);
  ASSERT_GT(back.size(), 21U);
  EXPECT_EQ(back[20], 3);
  EXPECT_EQ(back[21], 13);
  ping[20] = 3;
  EXPECT_TRUE(port.send(ping).empty());
}

TEST(DatagramPort, AFullQueueLosesTheAnswer) {
  Port port;
  port.io.full = true;
  EXPECT_TRUE(port.send(tun::build_udp(at("10.0.0.1:9"), at("10.0.0.2:53"), Bytes{1})).empty());
}

}  // namespace
}  // namespace proxyvpn::names
