#include "tun/reply_packet.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <vector>

#include "testing/addresses.h"

namespace proxyvpn::tun {
namespace {

using testing::at;

using Bytes = std::vector<std::uint8_t>;

struct Ends {
  Endpoint from;
  Endpoint to;
};
const Ends kBoth[] = {{at("10.0.0.1:4660"), at("192.0.2.1:53")},
                      {at("[fd00::1]:4660"), at("[2001:db8::1]:53")}};

std::uint16_t ip_checksum(const Bytes& packet) {
  return checksum_fold(checksum_add(0, {packet.data(), 20}));
}

TEST(BuildUdp, IsWhatTheParserTakesApart) {
  for (const auto& [from, to] : kBoth) {
    const Bytes payload{1, 2, 3};
    const Bytes packet = build_udp(from, to, payload);
    OtherPacket other;
    ASSERT_EQ(parse_other(packet, &other), ParseStatus::NotTcp);
    EXPECT_EQ(other.protocol, IPPROTO_UDP);
    EXPECT_EQ(source_of(other), from.address);
    EXPECT_EQ(destination_of(other), to.address);
    EXPECT_EQ(other.source_port, from.port);
    EXPECT_EQ(other.destination_port, to.port);
    EXPECT_EQ(other.total, packet.size());
    EXPECT_EQ(Bytes(packet.end() - 3, packet.end()), payload);
    EXPECT_FALSE(udp_checksum_wrong(packet, other));
    if (from.address.is_v4()) {
      EXPECT_EQ(ip_checksum(packet), 0xffff);
    }
  }
}

TEST(BuildUdp, RefusesWhatNoPacketHolds) {
  const Bytes large(65'530);
  EXPECT_TRUE(build_udp(kBoth[0].from, kBoth[0].to, large).empty());
}

TEST(UdpChecksum, FindsAFlippedBitAndKnowsWhatMayBeLeftOut) {
  for (const auto& [from, to] : kBoth) {
    Bytes packet = build_udp(from, to, Bytes{9, 9});
    OtherPacket other;
    ASSERT_EQ(parse_other(packet, &other), ParseStatus::NotTcp);
    packet.back() ^= 1;
    EXPECT_TRUE(udp_checksum_wrong(packet, other));
    packet[other.ip_header + 6U] = packet[other.ip_header + 7U] = 0;
    EXPECT_EQ(udp_checksum_wrong(packet, other), from.address.is_v6());
  }
}

TEST(ParseOther, RefusesLengthsThatDoNotFit) {
  for (const auto& [from, to] : kBoth) {
    const Bytes whole = build_udp(from, to, Bytes{1, 2, 3, 4});
    OtherPacket other;
    for (std::size_t n = 0; n < whole.size(); ++n) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<long>(n));
      EXPECT_EQ(parse_other(cut, &other), ParseStatus::Malformed) << n;
    }
    Bytes wrong = whole;
    ASSERT_EQ(parse_other(whole, &other), ParseStatus::NotTcp);
    wrong[other.ip_header + 5U] -= 1;
    EXPECT_EQ(parse_other(wrong, &other), ParseStatus::Malformed);
  }
}

TEST(ParseOther, LeavesTcpAndMulticastAlone) {
  OtherPacket other;
  Bytes packet = build_udp(kBoth[0].from, at("224.0.0.251:5353"), Bytes{1});
  EXPECT_EQ(parse_other(packet, &other), ParseStatus::Malformed);
  packet = build_udp(kBoth[0].from, kBoth[0].to, Bytes(32));
  packet[9] = IPPROTO_TCP;
  EXPECT_EQ(parse_other(packet, &other), ParseStatus::Tcp);
}

TEST(BuildUnreachable, QuotesThePacketAndTurnsItsEndsRound) {
  for (const auto& [from, to] : kBoth) {
    const bool v4 = from.address.is_v4();
    const Bytes packet = build_udp(from, to, Bytes(2000, 7));
    OtherPacket other;
    ASSERT_EQ(parse_other(packet, &other), ParseStatus::NotTcp);
    const Bytes error = build_unreachable(packet, other, Unreachable::Port);
    EXPECT_EQ(error.size(), v4 ? 576U : 1280U);
    OtherPacket icmp;
    ASSERT_EQ(parse_other(error, &icmp), ParseStatus::NotTcp);
    EXPECT_EQ(icmp.protocol, v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6});
    EXPECT_EQ(source_of(icmp), to.address);
    EXPECT_EQ(destination_of(icmp), from.address);
    EXPECT_EQ(error[icmp.ip_header], v4 ? 3 : 1);
    EXPECT_EQ(error[icmp.ip_header + 1U], v4 ? 3 : 4);
    EXPECT_TRUE(std::equal(error.begin() + icmp.ip_header + 8, error.end(), packet.begin()));
    std::uint64_t sum = 0;
    const auto length = icmp.total - icmp.ip_header;
    if (!v4) {
      sum = pseudo_header_sum(Family::V6, icmp.source, icmp.destination, length, IPPROTO_ICMPV6);
    }
    sum = checksum_add(sum, {error.data() + icmp.ip_header, length});
    EXPECT_EQ(checksum_fold(sum), 0xffff);
  }
}

}  // namespace
}  // namespace proxyvpn::tun
