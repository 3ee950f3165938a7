#pragma once
// Two namespaces and two links between them, for real packets: this process is the host under
// test, `peer` is everything else. "tun0" is a link without ARP, so that what is captured can be
// counted there without a stack.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>

#include "base/unique_fd.h"
#include "firewall/netns_test_fixture.h"
#include "firewall/traffic_test_wire.h"

namespace proxyvpn::firewall {

class TrafficTest : public NetnsTest {
 protected:
  void SetUp() override {
    NetnsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    host_ = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(0, ::unshare(CLONE_NEWNET));
    peer_ = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(0, ::setns(host_.get(), CLONE_NEWNET));
    make_links();
  }

  // Runs `what` in another namespace. Sockets that it opens stay there.
  void in_namespace(const UniqueFd& where, const std::function<void()>& what) {
    ASSERT_EQ(0, ::setns(where.get(), CLONE_NEWNET));
    what();
    ASSERT_EQ(0, ::setns(host_.get(), CLONE_NEWNET));
  }
  void in_peer(const std::function<void()>& what) { in_namespace(peer_, what); }

  // A namespace that `link` moves into from the host's, and `commands` run in.
  UniqueFd make_guest(const std::string& link, const std::string& commands) {
    EXPECT_EQ(0, ::unshare(CLONE_NEWNET));
    UniqueFd guest(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    const std::string self = std::to_string(::getpid());
    text_of("nsenter --net=/proc/" + self + "/fd/" + std::to_string(host_.get()) + " ip link set " +
            link + " netns " + self);
    text_of("set -e; ip link set lo up; " + commands);
    EXPECT_EQ(0, ::setns(host_.get(), CLONE_NEWNET));
    return guest;
  }

  static UniqueFd open_socket(const IpAddress& address, int type) {
    return UniqueFd(::socket(address.af(), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
  // errno of sending one datagram, 0 when it went out.
  static int send_udp(const Endpoint& to) {
    const UniqueFd socket = open_socket(to.address, SOCK_DGRAM);
    const SocketAddress where = to_sockaddr(to);
    return ::sendto(socket.get(), "x", 1, 0, where.get(), where.length) == 1 ? 0 : errno;
  }
  // errno of connecting within 300 ms, 0 when it is connected, ETIMEDOUT when nothing came back.
  static int finish(const UniqueFd& socket, const Endpoint& to, int wait_ms = 300) {
    const SocketAddress where = to_sockaddr(to);
    if (::connect(socket.get(), where.get(), where.length) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    pollfd wait{socket.get(), POLLOUT, 0};
    if (::poll(&wait, 1, wait_ms) != 1) return ETIMEDOUT;
    int err = 0;
    socklen_t length = sizeof err;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &err, &length);
    return err;
  }
  static int connect_tcp(const Endpoint& to, int wait_ms = 30) {
    return finish(open_socket(to.address, SOCK_STREAM), to, wait_ms);
  }
  static UniqueFd listen_tcp(const Endpoint& at) {
    UniqueFd socket = open_socket(at.address, SOCK_STREAM);
    const SocketAddress where = to_sockaddr(at);
    EXPECT_EQ(0, ::bind(socket.get(), where.get(), where.length)) << to_string(at);
    EXPECT_EQ(0, ::listen(socket.get(), 8));
    return socket;
  }

  Policy policy() const {
    Policy policy;
    policy.tun_addresses = {address("10.255.255.1"), address("fd0f:70::1")};
    policy.proxies = {proxies_[0], proxies_[1]};
    policy.resolvers = {resolvers_[0].address, resolvers_[1].address};
    return policy;
  }
  static std::uint64_t count(Firewall& firewall, const std::string& reason) {
    const auto counters = firewall.counters();
    EXPECT_TRUE(counters.has_value());
    for (const Counter& counter : counters.value_or(std::vector<Counter>{})) {
      if (counter.reason == reason) return counter.packets;
    }
    ADD_FAILURE() << "no counter " << reason;
    return 0;
  }

  UniqueFd host_;
  UniqueFd peer_;
  const std::array<Endpoint, 2> web_{endpoint("198.51.100.80:80"), endpoint("[2001:db8:2::80]:80")};
  const std::array<Endpoint, 2> proxies_{endpoint("203.0.113.10:3128"),
                                         endpoint("[2001:db8:113::10]:3128")};
  const std::array<Endpoint, 2> resolvers_{endpoint("203.0.113.53:53"),
                                           endpoint("[2001:db8:113::53]:53")};
  const std::array<Endpoint, 2> others_{endpoint("203.0.113.54:53"),
                                        endpoint("[2001:db8:113::54]:53")};

 private:
  void make_links() {
    const std::string self = std::to_string(::getpid());
    const std::string inside =
        "nsenter --net=/proc/" + self + "/fd/" + std::to_string(peer_.get()) + " sh -ec ";
    // Made in the peer's namespace and moved here: `ip` names a namespace by one of its processes.
    text_of(inside +
            "'ip link set lo up; ip link add p0 type veth peer name up0; ip link add t0 type veth "
            "peer name tun0; ip link set up0 netns " +
            self + "; ip link set tun0 netns " + self +
            "; ip addr add 192.0.2.1/24 dev p0; ip addr add 2001:db8:1::1/64 dev p0 nodad; "
            "ip link set p0 up; ip link set t0 arp off up; "
            "for a in 198.51.100.80/32 203.0.113.10/32 203.0.113.53/32 203.0.113.54/32; do "
            "ip addr add $a dev lo; done; for a in 2001:db8:2::80 2001:db8:113::10 "
            "2001:db8:113::53 2001:db8:113::54; do ip addr add $a/128 dev lo nodad; done'");
    text_of(
        "ip addr add 192.0.2.2/24 dev up0; ip addr add 2001:db8:1::2/64 dev up0 nodad; "
        "ip link set up0 up; ip link set tun0 arp off up; ip addr add 10.255.255.1/24 dev tun0; "
        "ip addr add fd0f:70::1/64 dev tun0 nodad; "
        "for f in -4 -6; do ip $f route add local default dev lo metric 4294967295 table 28791; "
        "ip $f rule add pref 200 fwmark 0x10000000/0x30000000 lookup 28790; "
        "ip $f rule add pref 201 fwmark 0x10000000/0x30000000 lookup 28791; "
        "ip $f rule add pref 202 fwmark 0x10000000/0x30000000 unreachable; "
        "ip $f route add default dev tun0 table 28790 metric 100; done; "
        "ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8:1::1");
  }
};

}  // namespace proxyvpn::firewall
