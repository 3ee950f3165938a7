#include "probe/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace proxyvpn::probe {
namespace {

using ::testing::HasSubstr;

TEST(Server, IsAnAddressWithOrWithoutPortAndZone) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"192.0.2.1", "192.0.2.1:53"},         {"192.0.2.1:5353", "192.0.2.1:5353"},
      {"2001:db8::1", "[2001:db8::1]:53"},   {"[2001:db8::1]:5353", "[2001:db8::1]:5353"},
      {"fe80::1%eth0", "[fe80::1%eth0]:53"}, {"[fe80::1%eth0]:1", "[fe80::1%eth0]:1"},
  };
  for (const auto& [text, expected] : cases) {
    const auto server = parse_server(text);
    ASSERT_TRUE(server) << server.error().message;
    EXPECT_EQ(expected, to_string(*server));
    const auto again = parse_server(to_string(*server));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*server, *again);
  }
}

TEST(Server, AnythingElseIsRefusedWithTheValue) {
  for (const char* text : {"", "dns.example", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:70000",
                           "192.0.2.1:53x", "[192.0.2.1]:53", "[2001:db8::1]", "2001:db8::1]:53",
                           "[2001:db8::1]:-1", "192.0.2.1%eth0"}) {
    const auto server = parse_server(text);
    ASSERT_FALSE(server) << text << " became " << to_string(*server);
    EXPECT_THAT(server.error().message, HasSubstr("'" + std::string(text) + "'"));
  }
}

class DefaultServer : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "proxyvpn-server-XXXXXX";
    ASSERT_NE(nullptr, ::mkdtemp(pattern.data()));
    directory_ = pattern;
    paths_ = {directory_ + "/resolv.conf", directory_ + "/upstreams"};
  }
  void TearDown() override {
    ::unlink(paths_.resolv_conf.c_str());
    ::unlink(paths_.systemd_upstreams.c_str());
    ::rmdir(directory_.c_str());
  }
  std::string text(bool through_proxy) {
    const auto server = default_server(paths_, through_proxy);
    return server ? to_string(*server) : server.error().message;
  }
  std::string directory_;
  dns::ResolverPaths paths_;
};

TEST_F(DefaultServer, IsTheFirstIpv4One) {
  std::ofstream(paths_.resolv_conf) << "nameserver 2001:db8::1\nnameserver 192.0.2.1\n";
  EXPECT_EQ("192.0.2.1:53", text(false));
  EXPECT_EQ("192.0.2.1:53", text(true));
}

TEST_F(DefaultServer, IsTheFirstOfAllWithoutIpv4) {
  std::ofstream(paths_.resolv_conf) << "nameserver fe80::1%eth0\nnameserver 2001:db8::1\n";
  EXPECT_EQ("[fe80::1%eth0]:53", text(false));
}

TEST_F(DefaultServer, AStubIsAskedDirectlyButNotThroughAProxy) {
  std::ofstream(paths_.resolv_conf) << "nameserver 127.0.0.53\n";
  EXPECT_EQ("127.0.0.53:53", text(false));
  EXPECT_THAT(text(true), HasSubstr("which a proxy cannot ask for us; give one with --server"));
  std::ofstream(paths_.systemd_upstreams) << "nameserver 192.0.2.7\n";
  EXPECT_EQ("192.0.2.7:53", text(true));
}

TEST_F(DefaultServer, NoneIsSaidWithTheFile) {
  EXPECT_THAT(text(false), HasSubstr(paths_.resolv_conf));
  std::ofstream(paths_.resolv_conf) << "search example.org\n";
  EXPECT_THAT(text(false), HasSubstr("has no usable nameserver line; give one with --server"));
}

TEST(ServerAddress, ANumericZoneIsALinkIndex) {
  const auto address = to_sockaddr(Server{{*IpAddress::parse("fe80::1"), 53}, "7"});
  ASSERT_TRUE(address) << address.error().message;
  sockaddr_in6 in{};
  std::copy_n(reinterpret_cast<const char*>(&address->storage), sizeof in,
              reinterpret_cast<char*>(&in));
  EXPECT_EQ(7U, in.sin6_scope_id);
}

}  // namespace
}  // namespace proxyvpn::probe
