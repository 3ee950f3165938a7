#include "tun/ip_packet.h"

#include <gtest/gtest.h>

#include <vector>

namespace proxyvpn::tun {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes tcp_header(std::uint8_t flags = kSyn, std::size_t words = 5) {
  Bytes t(words * 4);
  t[0] = 0x12, t[1] = 0x34;  // source port 4660
  t[2] = 0x01, t[3] = 0xbb;  // destination port 443
  t[4] = 1, t[5] = 2, t[6] = 3, t[7] = 4;
  t[12] = static_cast<std::uint8_t>(words << 4);
  t[13] = flags;
  return t;
}

Bytes v4(const Bytes& payload, std::uint8_t protocol = 6, std::size_t words = 5) {
  Bytes p(words * 4);
  const auto total = p.size() + payload.size();
  p[0] = static_cast<std::uint8_t>(0x40 | words);
  p[2] = static_cast<std::uint8_t>(total >> 8), p[3] = static_cast<std::uint8_t>(total);
  p[9] = protocol;
  p[12] = 10, p[15] = 1, p[16] = 192, p[18] = 2, p[19] = 1;
  p.insert(p.end(), payload.begin(), payload.end());
  return p;
}

Bytes v6(const Bytes& payload, std::uint8_t next = 6) {
  Bytes p(40);
  p[0] = 0x60;
  p[4] = static_cast<std::uint8_t>(payload.size() >> 8),
  p[5] = static_cast<std::uint8_t>(payload.size());
  p[6] = next;
  p[8] = 0xfd, p[23] = 1, p[24] = 0x20, p[39] = 2;
  p.insert(p.end(), payload.begin(), payload.end());
  return p;
}

ParseStatus parse(const Bytes& packet, TcpSegment* segment) {
  // An exact copy on the heap, so that the sanitizer sees any read beyond the end.
  const Bytes exact(packet.begin(), packet.end());
  const auto status = parse_tcp(exact, segment);
  segment->source = segment->destination = nullptr;
  return status;
}

ParseStatus parse(const Bytes& packet) {
  TcpSegment segment;
  return parse(packet, &segment);
}

TEST(ParseTcp, ReadsAWholeIpv4Segment) {
  TcpSegment s;
  Bytes tcp = tcp_header(kSyn | kAck, 6);
  tcp.insert(tcp.end(), {1, 2, 3});
  Bytes packet = v4(tcp, 6, 6);
  packet.push_back(0);  // padding behind the packet
  ASSERT_EQ(parse(packet, &s), ParseStatus::Tcp);
  EXPECT_EQ(s.ip_header, 24);
  EXPECT_EQ(s.tcp_header, 24);
  EXPECT_EQ(s.payload(), 3U);
  EXPECT_EQ(s.source_port, 4660);
  EXPECT_EQ(s.destination_port, 443);
  EXPECT_EQ(s.sequence, 0x01020304U);
  EXPECT_EQ(s.flags, kSyn | kAck);
}

TEST(ParseTcp, WalksIpv6ExtensionHeaders) {
  Bytes payload{43, 0, 0, 0, 0, 0, 0, 0};                   // hop-by-hop, next: routing
  payload.insert(payload.end(), {6, 1, 0, 0, 0, 0, 0, 0});  // routing of 16 bytes, next: TCP
  payload.insert(payload.end(), 8, 0);
  const auto tcp = tcp_header();
  payload.insert(payload.end(), tcp.begin(), tcp.end());
  TcpSegment s;
  ASSERT_EQ(parse(v6(payload, 0), &s), ParseStatus::Tcp);
  EXPECT_EQ(s.ip_header, 64);
  EXPECT_EQ(s.destination_port, 443);
}

TEST(ParseTcp, TellsOtherProtocolsAndFragmentsApart) {
  EXPECT_EQ(parse(v4(tcp_header(), 17)), ParseStatus::NotTcp);
  EXPECT_EQ(parse(v6(tcp_header(), 58)), ParseStatus::NotTcp);
  Bytes fragment = v4(tcp_header());
  fragment[6] = 0x20;
  EXPECT_EQ(parse(fragment), ParseStatus::Fragment);
  fragment[6] = 0, fragment[7] = 1;
  EXPECT_EQ(parse(fragment), ParseStatus::Fragment);
  EXPECT_EQ(parse(v6(Bytes(16), 44)), ParseStatus::Fragment);
}

TEST(ParseTcp, RejectsAddressesThatNoPeerHas) {
  for (const int first : {0, 224, 239, 240, 255}) {
    Bytes packet = v4(tcp_header());
    packet[16] = static_cast<std::uint8_t>(first);
    EXPECT_EQ(parse(packet), ParseStatus::Malformed) << first;
  }
  Bytes packet = v6(tcp_header());
  packet[24] = 0xff;
  EXPECT_EQ(parse(packet), ParseStatus::Malformed);
  Bytes ports = v4(tcp_header());
  ports[22] = ports[23] = 0;
  EXPECT_EQ(parse(ports), ParseStatus::Malformed);
}

TEST(ParseTcp, EveryTruncationIsRefused) {
  for (const auto& packet : {v4(tcp_header()), v6(tcp_header())}) {
    for (std::size_t n = 0; n < packet.size(); ++n) {
      EXPECT_EQ(parse(Bytes(packet.begin(), packet.begin() + static_cast<long>(n))),
                ParseStatus::Malformed)
          << n;
    }
  }
}

TEST(ParseTcp, RejectsHeaderLengthsThatDoNotFit) {
  Bytes packet = v4(tcp_header());
  packet[32] = 0x40;  // TCP header of 16 bytes
  EXPECT_EQ(parse(packet), ParseStatus::Malformed);
  packet[32] = 0x60;  // of 24, which is more than there is
  EXPECT_EQ(parse(packet), ParseStatus::Malformed);
  packet = v4(tcp_header());
  packet[0] = 0x44;  // IP header of 16 bytes
  EXPECT_EQ(parse(packet), ParseStatus::Malformed);
  packet[0] = 0x55;
  EXPECT_EQ(parse(packet), ParseStatus::Malformed);
}

TEST(ParseTcp, RejectsOptionsThatRunBeyondTheHeader) {
  const std::vector<Bytes> broken{
      {2, 4, 5, 180, 1, 1, 1, 2}, {2, 0, 0, 0}, {3, 1, 0, 0}, {1, 1, 2, 4}, {8, 10, 0, 0}};
  for (const auto& options : broken) {
    Bytes tcp = tcp_header(kSyn, 5 + options.size() / 4);
    std::copy(options.begin(), options.end(), tcp.begin() + 20);
    EXPECT_EQ(parse(v4(tcp)), ParseStatus::Malformed);
  }
  const std::vector<Bytes> whole{
      {2, 4, 5, 180}, {1, 3, 3, 7}, {4, 2, 0, 9}, {1, 1, 1, 1}, {99, 4, 0, 0}};
  for (const auto& options : whole) {
    Bytes tcp = tcp_header(kSyn, 6);
    std::copy(options.begin(), options.end(), tcp.begin() + 20);
    EXPECT_EQ(parse(v4(tcp)), ParseStatus::Tcp);
  }
}

TEST(Checksum, MatchesTheExampleOfRfc1071) {
  const Bytes bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(ntohs(checksum_fold(checksum_add(0, bytes))), 0xddf2);
}

TEST(Checksum, OddLengthsArePaddedWithZero) {
  const Bytes odd{0x12, 0x34, 0x56};
  const Bytes even{0x12, 0x34, 0x56, 0x00};
  EXPECT_EQ(checksum_fold(checksum_add(0, odd)), checksum_fold(checksum_add(0, even)));
}

}  // namespace
}  // namespace proxyvpn::tun
