#include "base/ip.h"

#include <gtest/gtest.h>

namespace proxyvpn {
namespace {

TEST(IpAddress, PrintsWhatItParsed) {
  for (const char* text : {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1"}) {
    const auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(to_string(*address), text);
  }
}

TEST(IpAddress, RejectsEverythingElse) {
  for (const char* text :
       {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "[::1]", "fe80::1%eth0", "x", "1.2.3.4 "}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
}

TEST(IpAddress, KnowsItsKind) {
  EXPECT_TRUE(IpAddress::parse("127.9.9.9")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("::1")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("::ffff:127.0.0.1")->is_loopback());
  EXPECT_FALSE(IpAddress::parse("::2")->is_loopback());
  EXPECT_TRUE(IpAddress::parse("fe80::1")->is_link_local());
  EXPECT_TRUE(IpAddress::parse("169.254.1.1")->is_link_local());
  EXPECT_TRUE(IpAddress::parse("ff02::1")->is_multicast());
  EXPECT_TRUE(IpAddress::parse("239.1.1.1")->is_multicast());
  EXPECT_TRUE(IpAddress::parse("::")->is_unspecified());
}

TEST(Endpoint, NeedsBracketsForIpv6AndAPort) {
  EXPECT_EQ(to_string(*parse_endpoint("192.0.2.1:80")), "192.0.2.1:80");
  EXPECT_EQ(to_string(*parse_endpoint("[2001:db8::1]:65535")), "[2001:db8::1]:65535");
  for (const char* text : {"192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536",
                           "2001:db8::1:80", "[192.0.2.1]:80", "192.0.2.1:+80", ":80", "[::1:80"}) {
    EXPECT_FALSE(parse_endpoint(text)) << text;
  }
}

TEST(Endpoint, SurvivesTheRoundTripThroughSockaddr) {
  for (const char* text : {"192.0.2.1:80", "[2001:db8::1]:443"}) {
    const auto endpoint = *parse_endpoint(text);
    const auto address = to_sockaddr(endpoint);
    EXPECT_EQ(from_sockaddr(address.get(), address.length), endpoint);
  }
}

TEST(Endpoint, MappedIpv6BecomesIpv4) {
  const auto address = to_sockaddr(Endpoint{*IpAddress::parse("::ffff:192.0.2.1"), 80});
  EXPECT_EQ(to_string(*from_sockaddr(address.get(), address.length)), "192.0.2.1:80");
}

TEST(Cidr, ContainsAndOverlaps) {
  const auto ten = *parse_cidr("10.255.255.1/30");
  EXPECT_TRUE(ten.contains(*IpAddress::parse("10.255.255.2")));
  EXPECT_FALSE(ten.contains(*IpAddress::parse("10.255.255.4")));
  EXPECT_FALSE(ten.contains(*IpAddress::parse("::1")));
  EXPECT_TRUE(parse_cidr("10.0.0.0/8")->overlaps(ten));
  EXPECT_TRUE(ten.overlaps(*parse_cidr("10.0.0.0/8")));
  EXPECT_FALSE(ten.overlaps(*parse_cidr("10.255.254.0/24")));
  EXPECT_TRUE(parse_cidr("0.0.0.0/0")->contains(*IpAddress::parse("255.1.2.3")));
  EXPECT_TRUE(parse_cidr("fd00::/9")->contains(*IpAddress::parse("fd7f::1")));
  EXPECT_FALSE(parse_cidr("fd00::/9")->contains(*IpAddress::parse("fd80::1")));
}

TEST(Cidr, NetworkClearsTheHostBits) {
  EXPECT_EQ(to_string(parse_cidr("10.255.255.1/30")->network()), "10.255.255.0/30");
  EXPECT_EQ(to_string(parse_cidr("fd12:3456::1/12")->network()), "fd10::/12");
  EXPECT_EQ(to_string(parse_cidr("192.0.2.1")->network()), "192.0.2.1/32");
}

TEST(Cidr, RejectsPrefixesThatDoNotExist) {
  for (const char* text :
       {"10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "/8"}) {
    EXPECT_FALSE(parse_cidr(text)) << text;
  }
}

}  // namespace
}  // namespace proxyvpn
