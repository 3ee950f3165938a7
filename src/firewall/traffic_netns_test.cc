// What the rules let out and what not, by the packets on the wire, for every back end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/fsuid.h>

#include "firewall/traffic_test_lab.h"

namespace proxyvpn::firewall {
namespace {

class Traffic : public TrafficTest, public ::testing::WithParamInterface<Backend> {
 protected:
  void SetUp() override {
    TrafficTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    in_peer([this] {
      up_ = std::make_unique<Wire>("p0");
      tun_ = std::make_unique<Wire>("t0");
    });
    firewall_ = opened(GetParam());
    ASSERT_NE(nullptr, firewall_);
  }
  void install(const Policy& policy) { ASSERT_EQ("ok", outcome(firewall_->install(policy))); }

  std::unique_ptr<Wire> up_;
  std::unique_ptr<Wire> tun_;
  std::unique_ptr<Firewall> firewall_;
};

// The oracle sees: without rules everything is on the wire.
TEST_P(Traffic, WithoutRulesEverythingGoesOut) {
  for (const std::size_t i : kBoth) {
    EXPECT_EQ(0, send_udp(web_[i]));
    EXPECT_TRUE(up_->sees(web_[i]));
    (void)connect_tcp(web_[i]);
    EXPECT_TRUE(up_->sees(web_[i]));
    EXPECT_EQ(0, send_udp(others_[i]));
    EXPECT_TRUE(up_->sees(others_[i]));
  }
}

TEST_P(Traffic, UdpIsRefusedAtOnceAndCounted) {
  install(policy());
  for (const std::size_t i : kBoth) {
    const auto before = count(*firewall_, "udp");
    EXPECT_EQ(EPERM, send_udp(web_[i])) << to_string(web_[i]);
    EXPECT_TRUE(up_->silent(web_[i]));
    EXPECT_EQ(before + 1, count(*firewall_, "udp"));
  }
}

TEST_P(Traffic, OnlyAllowedResolversAreAsked) {
  install(policy());
  for (const std::size_t i : kBoth) {
    EXPECT_EQ(0, send_udp(resolvers_[i])) << to_string(resolvers_[i]);
    EXPECT_TRUE(up_->sees(resolvers_[i]));
    (void)connect_tcp(resolvers_[i]);
    EXPECT_TRUE(up_->sees(resolvers_[i]));
    const auto before = count(*firewall_, "dns");
    EXPECT_EQ(EPERM, send_udp(others_[i])) << to_string(others_[i]);
    EXPECT_TRUE(up_->silent(others_[i]));
    EXPECT_EQ(before + 1, count(*firewall_, "dns"));
    // TCP to another resolver is TCP like any other.
    (void)connect_tcp(others_[i]);
    EXPECT_TRUE(tun_->sees(others_[i]));
    EXPECT_TRUE(up_->silent(others_[i]));
  }
}

TEST_P(Traffic, DirectNetworksGetEverythingButDns) {
  Policy with = policy();
  with.direct = {network("203.0.113.0/24"), network("2001:db8:113::/64")};
  install(with);
  for (const std::size_t i : kBoth) {
    Endpoint other = others_[i];
    EXPECT_EQ(EPERM, send_udp(other)) << "DNS to " << to_string(other);
    EXPECT_EQ(ECONNREFUSED, connect_tcp(other)) << "DNS by TCP to " << to_string(other);
    EXPECT_TRUE(up_->silent(other));
    EXPECT_TRUE(tun_->silent(other));
    other.port = 4000;
    EXPECT_EQ(0, send_udp(other));
    EXPECT_TRUE(up_->sees(other));
    EXPECT_EQ(ECONNREFUSED, connect_tcp(other, 300)) << "the peer's own RST";
    EXPECT_TRUE(up_->sees(other));
    EXPECT_EQ(EPERM, send_udp(web_[i])) << "not direct";
  }
}

TEST_P(Traffic, TcpGoesIntoTheTun) {
  install(policy());
  for (const std::size_t i : kBoth) {
    EXPECT_EQ(ETIMEDOUT, connect_tcp(web_[i])) << "nobody answers in the TUN";
    EXPECT_TRUE(tun_->sees(web_[i]));
    EXPECT_TRUE(up_->silent(web_[i]));
    // The proxy's own address is an address like any other for an application.
    (void)connect_tcp(proxies_[i]);
    EXPECT_TRUE(tun_->sees(proxies_[i]));
    EXPECT_TRUE(up_->silent(proxies_[i]));
  }
}

TEST_P(Traffic, ABoundDeviceIsNoWayAround) {
  install(policy());
  for (const std::size_t i : kBoth) {
    const UniqueFd socket = open_socket(web_[i].address, SOCK_STREAM);
    ASSERT_EQ(0, ::setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, "up0", 3));
    EXPECT_NE(0, finish(socket, web_[i], 30));
    EXPECT_TRUE(up_->silent(web_[i]));
    const UniqueFd udp = open_socket(web_[i].address, SOCK_DGRAM);
    ASSERT_EQ(0, ::setsockopt(udp.get(), SOL_SOCKET, SO_BINDTODEVICE, "tun0", 4));
    const SocketAddress where = to_sockaddr(web_[i]);
    EXPECT_EQ(-1, ::sendto(udp.get(), "x", 1, 0, where.get(), where.length));
    // EPERM, or no route through this device at all.
    EXPECT_TRUE(tun_->silent(web_[i]));
  }
}

// Without the policy routes nothing steers the packets into the TUN: `post` alone holds them.
TEST_P(Traffic, ALostRouteIsNoLeak) {
  install(policy());
  text_of("for f in -4 -6; do for p in 200 201 202; do ip $f rule del pref $p; done; done");
  const auto before = count(*firewall_, "tcp");
  for (const std::size_t i : kBoth) {
    EXPECT_EQ(ETIMEDOUT, connect_tcp(web_[i]));
    EXPECT_TRUE(up_->silent(web_[i]));
  }
  EXPECT_GE(count(*firewall_, "tcp"), before + 2);
}

TEST_P(Traffic, BypassNeedsMarkAndUserAndEndpoint) {
  std::array<UniqueFd, 2> listeners;
  in_peer([&] {
    for (const std::size_t i : kBoth) listeners[i] = listen_tcp(proxies_[i]);
  });
  Policy with = policy();
  with.daemon_uid = 4711;
  install(with);
  const auto attempt = [&](const Endpoint& to, uid_t uid, std::uint32_t mark) {
    ::setfsuid(uid);
    const UniqueFd socket = open_socket(to.address, SOCK_STREAM);
    ::setfsuid(0);
    EXPECT_EQ(0, ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark));
    return finish(socket, to);
  };
  const std::uint32_t mark = with.marks.bypass | 0x5;  // somebody else's bits do not matter
  for (const std::size_t i : kBoth) {
    EXPECT_EQ(0, attempt(proxies_[i], 4711, mark)) << to_string(proxies_[i]);
    (void)up_->packets(proxies_[i], 60);
    EXPECT_EQ(ETIMEDOUT, attempt(proxies_[i], 4712, mark)) << "another user";
    EXPECT_EQ(ETIMEDOUT, attempt(proxies_[i], 4711, 0)) << "no mark";
    Endpoint port = proxies_[i];
    ++port.port;
    EXPECT_EQ(ETIMEDOUT, attempt(port, 4711, mark)) << "another port";
    EXPECT_EQ(ETIMEDOUT, attempt(web_[i], 4711, mark)) << "another address";
    EXPECT_EQ(ETIMEDOUT, attempt(web_[i], 4711, with.marks.inbound)) << "a connection's mark";
    EXPECT_EQ(ETIMEDOUT, attempt(web_[i], 4711, with.marks.capture)) << "the TUN's mark";
    for (const Endpoint& to : {proxies_[i], port, web_[i]}) EXPECT_TRUE(up_->silent(to));
  }
}

TEST_P(Traffic, AnExemptUsersTcpGoesDirect) {
  Policy with = policy();
  with.exempt_uids = {1234};
  install(with);
  for (const std::size_t i : kBoth) {
    ::setfsuid(1234);
    const UniqueFd socket = open_socket(web_[i].address, SOCK_STREAM);
    const UniqueFd udp = open_socket(web_[i].address, SOCK_DGRAM);
    ::setfsuid(0);
    (void)finish(socket, web_[i], 30);
    EXPECT_TRUE(up_->sees(web_[i]));
    const SocketAddress where = to_sockaddr(web_[i]);
    EXPECT_EQ(-1, ::sendto(udp.get(), "x", 1, 0, where.get(), where.length)) << "TCP only";
  }
}

// A service of this machine answers; and goes on to when conntrack forgets, where that is known.
TEST_P(Traffic, InboundConnectionsAreAnswered) {
  install(policy());
  for (const char* here : {"192.0.2.2:2222", "[2001:db8:1::2]:2222"}) {
    const Endpoint at = endpoint(here);
    const UniqueFd listener = listen_tcp(at);
    UniqueFd client;
    int result = -1;
    in_peer([&] {
      client = open_socket(at.address, SOCK_STREAM);
      result = finish(client, at);
    });
    ASSERT_EQ(0, result) << here;
    const UniqueFd session(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    for (const char* word : {"hello", "again"}) {
      ASSERT_EQ(5, ::send(session.get(), word, 5, MSG_NOSIGNAL));
      pollfd wait{client.get(), POLLIN, 0};
      ASSERT_EQ(1, ::poll(&wait, 1, 1000)) << here << " " << word;
      std::array<char, 8> buffer{};
      ASSERT_EQ(5, ::recv(client.get(), buffer.data(), buffer.size(), 0));
      EXPECT_STREQ(word, buffer.data());
      if (firewall_->name() == "iptables-nft" || firewall_->name() == "iptables-legacy") break;
      if (run("conntrack -F").status != 0) break;  // not installed everywhere
    }
  }
}

TEST_P(Traffic, PingIsRefusedAndCounted) {
  install(policy());
  EXPECT_NE(0, run("ping -c1 -W1 192.0.2.1").status);
  EXPECT_NE(0, run("ping -6 -c1 -W1 2001:db8:1::1").status);
  EXPECT_EQ(2U, count(*firewall_, "icmp"));
}

TEST_P(Traffic, ShutRefusesEveryNewConnectionAtOnce) {
  std::array<UniqueFd, 2> listeners;
  in_peer([&] {
    for (const std::size_t i : kBoth) listeners[i] = listen_tcp(proxies_[i]);
  });
  Policy with = policy();
  with.mode = Mode::Shut;
  install(with);
  for (const std::size_t i : kBoth) {
    EXPECT_EQ(ECONNREFUSED, connect_tcp(web_[i], 300)) << to_string(web_[i]);
    EXPECT_EQ(ECONNREFUSED, connect_tcp(proxies_[i], 300));
    EXPECT_EQ(EPERM, send_udp(web_[i]));
    EXPECT_TRUE(up_->silent(web_[i]));
    EXPECT_TRUE(tun_->silent(web_[i]));
    const UniqueFd socket = open_socket(proxies_[i].address, SOCK_STREAM);
    const std::uint32_t mark = with.marks.bypass;
    ASSERT_EQ(0, ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark));
    EXPECT_EQ(0, finish(socket, proxies_[i])) << "the way to the proxy stays";
  }
  EXPECT_GE(count(*firewall_, "tcp"), 4U);
}

TEST_P(Traffic, ATunWithoutIpv6RefusesIpv6AtOnce) {
  Policy with = policy();
  with.tun_addresses.resize(1);
  install(with);
  EXPECT_TRUE(firewall_->intact().value_or(false));
  EXPECT_EQ(ECONNREFUSED, connect_tcp(web_[1], 300));
  EXPECT_TRUE(up_->silent(web_[1]));
  EXPECT_EQ(ETIMEDOUT, connect_tcp(web_[0])) << "IPv4 goes into the TUN";
  EXPECT_TRUE(tun_->sees(web_[0]));
}

TEST_P(Traffic, OpenCapturesTcpAndLeavesTheRest) {
  Policy with = policy();
  with.mode = Mode::Open;
  install(with);
  for (const std::size_t i : kBoth) {
    (void)connect_tcp(web_[i]);
    EXPECT_TRUE(tun_->sees(web_[i]));
    EXPECT_TRUE(up_->silent(web_[i]));
    EXPECT_EQ(0, send_udp(web_[i]));
    EXPECT_TRUE(up_->sees(web_[i]));
  }
}

TEST_P(Traffic, LoopbackIsLeftAlone) {
  install(policy());
  for (const char* here : {"127.0.0.1:5000", "[::1]:5000", "192.0.2.2:5001"}) {
    const Endpoint at = endpoint(here);
    const UniqueFd listener = listen_tcp(at);
    EXPECT_EQ(0, connect_tcp(at, 300)) << here;
    EXPECT_EQ(0, send_udp(at)) << here;
  }
}

TEST_P(Traffic, TheTunsAddressIsHiddenFromOutside) {
  install(policy());
  for (const char* hidden : {"10.255.255.1:7", "[fd0f:70::1]:7"}) {
    const Endpoint to = endpoint(hidden);
    int result = -1;
    in_peer([&] {
      text_of(to.address.is_v4() ? "ip route add 10.255.255.1 via 192.0.2.2"
                                 : "ip -6 route add fd0f:70::1 via 2001:db8:1::2");
      result = connect_tcp(to, 200);
    });
    EXPECT_EQ(ETIMEDOUT, result) << hidden << ": not even an RST";
  }
  EXPECT_GE(count(*firewall_, "spoofed-tun"), 2U);
}

TEST_P(Traffic, ContainersAreCapturedAndRefusedAlike) {
  text_of(
      "ip link add ctr0 type veth peer name c0; ip addr add 172.30.0.1/24 dev ctr0; "
      "ip link set ctr0 up; echo 1 >/proc/sys/net/ipv4/ip_forward");
  const UniqueFd container = make_guest(
      "c0",
      "ip addr add 172.30.0.2/24 dev c0; ip link set c0 up; ip route add default via 172.30.0.1");
  Policy with = policy();
  with.inside_links = {"ctr0"};
  with.inside_networks = {network("172.30.0.0/24")};
  install(with);
  in_namespace(container, [&] { EXPECT_EQ(ETIMEDOUT, connect_tcp(web_[0])); });
  EXPECT_TRUE(tun_->sees(web_[0]));
  EXPECT_TRUE(up_->silent(web_[0]));
  in_namespace(container, [&] { EXPECT_EQ(0, send_udp(web_[0])); });
  EXPECT_TRUE(up_->silent(web_[0]));
  EXPECT_EQ(1U, count(*firewall_, "forward"));
  in_namespace(container, [&] { EXPECT_EQ(0, send_udp(others_[0])); });
  EXPECT_TRUE(up_->silent(others_[0]));
  EXPECT_EQ(2U, count(*firewall_, "forward"));
  in_namespace(container, [&] { EXPECT_EQ(0, send_udp(resolvers_[0])); });
  EXPECT_TRUE(up_->sees(resolvers_[0]));
  // Host to container.
  EXPECT_EQ(0, send_udp(endpoint("172.30.0.2:9")));
  EXPECT_EQ(0, run("ping -c1 -W1 172.30.0.2").status);
}

INSTANTIATE_TEST_SUITE_P(Backends, Traffic,
                         ::testing::Values(Backend::Nftables, Backend::NftCommand,
                                           Backend::IptablesNft, Backend::IptablesLegacy),
                         backend_name);

}  // namespace
}  // namespace proxyvpn::firewall
