#include "app/option_values.h"

#include <gtest/gtest.h>

namespace proxyvpn::app {
namespace {

using namespace std::chrono_literals;

TEST(ParseNumber, TakesDecimalAndHexWithinTheRange) {
  EXPECT_EQ(parse_number("--x", "1280", 1280, 65535), 1280u);
  EXPECT_EQ(parse_number("--x", "0x10000000", 1, UINT32_MAX), 0x10000000u);
  for (const auto* text : {"", "1279", "65536", "-1", "+5", "abc", "12a", " 12", "0x", "1e3",
                           "99999999999999999999999"}) {
    const auto number = parse_number("--mtu", text, 1280, 65535);
    ASSERT_FALSE(number) << text;
    EXPECT_EQ(number.error().message,
              "--mtu '" + std::string(text) + "': must be a number from 1280 to 65535");
  }
}

TEST(ParseListener, TakesAnAddressAndAPortOrAPortOnLoopback) {
  EXPECT_EQ(to_string(parse_listener("--m", "9095").value()), "127.0.0.1:9095");
  EXPECT_EQ(to_string(parse_listener("--m", "[::1]:1").value()), "[::1]:1");
  EXPECT_EQ(to_string(parse_listener("--m", "0.0.0.0:65535").value()), "0.0.0.0:65535");
  for (const auto* text : {"", "0", "65536", ":9095", "localhost:9095", "127.0.0.1", "::1", "-1"}) {
    EXPECT_FALSE(parse_listener("--m", text)) << text;
  }
}

TEST(ParseDuration, TakesSecondsAndMilliseconds) {
  EXPECT_EQ(parse_duration("--t", "10", 100ms, 600s), 10'000ms);
  EXPECT_EQ(parse_duration("--t", "10s", 100ms, 600s), 10'000ms);
  EXPECT_EQ(parse_duration("--t", "2.5", 100ms, 600s), 2500ms);
  EXPECT_EQ(parse_duration("--t", "500ms", 100ms, 600s), 500ms);
  for (const auto* text : {"", "0", "99ms", "601", "-1", "ten", "1m", "nan", "inf", "1e2", "s"}) {
    EXPECT_FALSE(parse_duration("--t", text, 100ms, 600s)) << text;
  }
}

TEST(ParseSize, TakesPowersOf1024) {
  EXPECT_EQ(parse_size("--s", "256M", 1, 64ull << 30), 256ull << 20);
  EXPECT_EQ(parse_size("--s", "1g", 1, 64ull << 30), 1ull << 30);
  EXPECT_EQ(parse_size("--s", "9000000", 1, 64ull << 30), 9'000'000u);
  for (const auto* text : {"", "M", "1T", "65G", "-1M", "1.5G", "18446744073709551615G"}) {
    EXPECT_FALSE(parse_size("--s", text, 8 << 20, 64ull << 30)) << text;
  }
}

TEST(ParseUnicast, RefusesWhatIsNotOneMachine) {
  EXPECT_TRUE(parse_unicast("--dns", "192.0.2.53"));
  EXPECT_TRUE(parse_unicast("--dns", "2001:db8::53"));
  for (const auto* text : {"", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "host", "192.0.2.53:53"}) {
    EXPECT_FALSE(parse_unicast("--dns", text)) << text;
  }
}

TEST(ParseNetwork, ClearsHostBitsAndRefusesEverything) {
  EXPECT_EQ(to_string(parse_network("--exclude", "10.1.2.3/8").value()), "10.0.0.0/8");
  EXPECT_EQ(to_string(parse_network("--exclude", "192.0.2.7").value()), "192.0.2.7/32");
  for (const auto* text : {"0.0.0.0/0", "::/0", "10.0.0.0/33", "ten", ""}) {
    EXPECT_FALSE(parse_network("--exclude", text)) << text;
  }
}

TEST(ParseTunCidr, NeedsRoomForAPeerAndAHostAddress) {
  for (const auto* text : {"10.255.255.1/30", "10.255.255.2/30", "10.0.0.1/8", "192.168.77.5/24"}) {
    EXPECT_TRUE(parse_tun_cidr("--tun-cidr", text, Family::V4)) << text;
  }
  struct Case {
    const char* text;
    const char* why;
  };
  for (const auto& item :
       {Case{"10.255.255.1/31", "too small"}, Case{"10.255.255.1", "too small"},
        Case{"10.255.255.1/7", "too large"}, Case{"10.255.255.0/30", "broadcast"},
        Case{"10.255.255.3/30", "broadcast"}, Case{"127.0.0.2/30", "network device"},
        Case{"224.0.0.1/30", "network device"}, Case{"0.0.0.1/33", "is not an IPv4"},
        Case{"fd00::1/126", "is not an IPv4"}, Case{"x", "is not an IPv4"}}) {
    const auto cidr = parse_tun_cidr("--tun-cidr", item.text, Family::V4);
    ASSERT_FALSE(cidr) << item.text;
    EXPECT_NE(cidr.error().message.find(item.why), std::string::npos) << cidr.error().message;
    EXPECT_NE(cidr.error().message.find(item.text), std::string::npos) << cidr.error().message;
  }
  EXPECT_TRUE(parse_tun_cidr("--tun-cidr6", "fd70::1/126", Family::V6));
  EXPECT_TRUE(parse_tun_cidr("--tun-cidr6", "fd70::3/126", Family::V6));
  EXPECT_FALSE(parse_tun_cidr("--tun-cidr6", "fd70::/126", Family::V6));
  EXPECT_FALSE(parse_tun_cidr("--tun-cidr6", "fd70::1/127", Family::V6));
  EXPECT_FALSE(parse_tun_cidr("--tun-cidr6", "::1/126", Family::V6));
}

TEST(ParseLinkName, TakesWhatTheKernelAndAShellTake) {
  for (const auto* text : {"tun0", "a", "my-tun_1.x", "123456789012345"}) {
    EXPECT_TRUE(parse_link_name("--tun-name", text)) << text;
  }
  for (const auto* text :
       {"", ".", "..", "a/b", "a b", "tun%d", "-tun", "a;b", "lo", "all", "t\xc3\xbcn", "a:b"}) {
    EXPECT_FALSE(parse_link_name("--tun-name", text)) << text;
  }
  const auto longer = parse_link_name("--tun-name", "1234567890123456");
  ASSERT_FALSE(longer);
  EXPECT_NE(longer.error().message.find("at most 15"), std::string::npos);
}

TEST(ParseUser, TakesNamesAndNumbers) {
  EXPECT_EQ(parse_user("--exempt-user", "root"), 0u);
  EXPECT_EQ(parse_user("--exempt-user", "65534"), 65534u);
  EXPECT_FALSE(parse_user("--exempt-user", "4294967295"));
  EXPECT_FALSE(parse_user("--exempt-user", "no-such-user-here"));
  EXPECT_FALSE(parse_user("--exempt-user", ""));
}

TEST(ParseBackend, KnowsEveryBackend) {
  EXPECT_EQ(parse_backend("--firewall", "auto"), firewall::Backend::Auto);
  EXPECT_EQ(parse_backend("--firewall", "nftables"), firewall::Backend::Nftables);
  EXPECT_EQ(parse_backend("--firewall", "nft"), firewall::Backend::NftCommand);
  EXPECT_EQ(parse_backend("--firewall", "iptables-nft"), firewall::Backend::IptablesNft);
  EXPECT_EQ(parse_backend("--firewall", "iptables-legacy"), firewall::Backend::IptablesLegacy);
  EXPECT_FALSE(parse_backend("--firewall", "iptables"));
}

}  // namespace
}  // namespace proxyvpn::app
