// sock_diag on real sockets of two machines (namespaces) with a wire between them.
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "base/unique_fd.h"
#include "netlink/sock_diag.h"
#include "testing/netns.h"

namespace proxyvpn::netlink {
namespace {

using proxyvpn::testing::NetnsTest;
using proxyvpn::testing::text_of;

constexpr const char* kHere4 = "192.0.2.1";
constexpr const char* kThere4 = "192.0.2.2";
constexpr const char* kHere6 = "2001:db8::1";
constexpr const char* kThere6 = "2001:db8::2";

Endpoint at(const std::string& address, std::uint16_t port) {
  return {*IpAddress::parse(address), port};
}

UniqueFd listen_on(const Endpoint& endpoint, bool only_v6 = false) {
  UniqueFd fd(::socket(endpoint.address.af(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const int only = only_v6 ? 1 : 0;
  if (endpoint.address.is_v6())
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  const SocketAddress address = to_sockaddr(endpoint);
  EXPECT_EQ(0, ::bind(fd.get(), address.get(), address.length)) << std::strerror(errno);
  EXPECT_EQ(0, ::listen(fd.get(), 512));
  return fd;
}

UniqueFd stream(int family, int flags = 0) {
  return UniqueFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

void connect_to(const UniqueFd& fd, const Endpoint& endpoint) {
  const SocketAddress address = to_sockaddr(endpoint);
  ASSERT_EQ(0, ::connect(fd.get(), address.get(), address.length))
      << to_string(endpoint) << ": " << std::strerror(errno);
}

UniqueFd accept_from(const UniqueFd& listener) {
  return UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

Endpoint local_of(const UniqueFd& fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  EXPECT_EQ(0, ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length));
  return from_sockaddr(reinterpret_cast<sockaddr*>(&storage), length).value_or(Endpoint{});
}

// What the application's next read gives: the errno, 0 for the end of the stream.
int next_read(const UniqueFd& fd) {
  const timeval limit{2, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char byte = 0;
  return ::recv(fd.get(), &byte, 1, 0) < 0 ? errno : 0;
}

class SockDiagNetns : public NetnsTest {
 protected:
  void SetUp() override {
    NetnsTest::SetUp();  // makes the machine there
    if (IsSkipped() || HasFatalFailure()) return;
    there_ = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(0, ::unshare(CLONE_NEWNET));
    here_ = UniqueFd(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    text_of("ip link set dev lo up");
    text_of("ip link add dev eth0 type veth peer name eth1");
    text_of("ip link set dev eth1 netns /proc/" + std::to_string(::getpid()) + "/fd/" +
            std::to_string(there_.get()));
    address("eth0", kHere4, kHere6);
    go(there_);
    address("eth1", kThere4, kThere6);
    go(here_);
    text_of("ping -c 1 -W 2 -q 192.0.2.2 || true");  // not needed where there is no ping
    auto opened = open_socket_diag();
    ASSERT_TRUE(opened) << opened.error().message;
    diag_ = std::move(*opened);
  }
  static void address(const std::string& device, const std::string& v4, const std::string& v6) {
    text_of("ip address add " + v4 + "/24 dev " + device);
    text_of("ip -6 address add " + v6 + "/64 dev " + device + " nodad");
    text_of("ip link set dev " + device + " up");
  }
  static void go(const UniqueFd& machine) { ASSERT_EQ(0, ::setns(machine.get(), CLONE_NEWNET)); }
  // A listener on the other machine.
  UniqueFd listen_there(const Endpoint& endpoint) {
    go(there_);
    UniqueFd fd = listen_on(endpoint);
    go(here_);
    return fd;
  }
  UniqueFd connect_from_there(const Endpoint& endpoint) {
    go(there_);
    UniqueFd fd = stream(endpoint.address.af());
    connect_to(fd, endpoint);
    go(here_);
    return fd;
  }
  std::vector<TcpSocket> connected() {
    auto sockets = diag_->connected();
    EXPECT_TRUE(sockets) << sockets.error().message;
    return sockets ? *sockets : std::vector<TcpSocket>();
  }
  std::set<std::string> flows() {
    std::set<std::string> texts;
    for (const TcpSocket& one : connected())
      texts.insert(to_string(one.local) + " > " + to_string(one.remote));
    return texts;
  }
  TcpSocket find(const Endpoint& local) {
    for (const TcpSocket& one : connected())
      if (one.local == local) return one;
    ADD_FAILURE() << to_string(local) << " is not listed";
    return {};
  }

  UniqueFd here_;
  UniqueFd there_;
  std::unique_ptr<SocketDiag> diag_;
};

TEST_F(SockDiagNetns, TellsWhatCameInFromWhatWentOut) {
  const UniqueFd service = listen_on(at("::", 22));
  const UniqueFd web = listen_there(at(kThere4, 80));
  const UniqueFd visitor4 = connect_from_there(at(kHere4, 22));
  const UniqueFd visitor6 = connect_from_there(at(kHere6, 22));
  const UniqueFd session4 = accept_from(service);
  const UniqueFd session6 = accept_from(service);
  const UniqueFd out = stream(AF_INET);
  connect_to(out, at(kThere4, 80));

  const std::set<std::string> expected = {
      "192.0.2.1:22 > " + to_string(local_of(visitor4)),
      "[2001:db8::1]:22 > " + to_string(local_of(visitor6)),
      to_string(local_of(out)) + " > 192.0.2.2:80",
  };
  EXPECT_EQ(expected, flows());
  const auto listeners = diag_->listeners();
  ASSERT_TRUE(listeners);
  EXPECT_EQ((std::vector<Endpoint>{at("0.0.0.0", 22), at("::", 22)}), *listeners);
  std::set<std::string> came_in;
  for (const TcpSocket& one : inbound(connected(), *listeners))
    came_in.insert(to_string(one.remote));
  EXPECT_EQ((std::set<std::string>{to_string(local_of(visitor4)), to_string(local_of(visitor6))}),
            came_in);
}

TEST_F(SockDiagNetns, ListenersOfEachKind) {
  const UniqueFd only_v6 = listen_on(at("::", 443), true);
  const UniqueFd one = listen_on(at(kHere4, 25));
  const UniqueFd lo = listen_on(at("127.0.0.1", 631));
  const UniqueFd mapped = listen_on(at("::ffff:192.0.2.1", 26));
  const auto listeners = diag_->listeners();
  ASSERT_TRUE(listeners);
  EXPECT_EQ(
      (std::vector<Endpoint>{at("127.0.0.1", 631), at(kHere4, 25), at(kHere4, 26), at("::", 443)}),
      *listeners);
}

TEST_F(SockDiagNetns, SaysWhoseASocketIs) {
  const UniqueFd web = listen_there(at(kThere6, 80));
  const UniqueFd out = stream(AF_INET6);
  const std::uint32_t mark = 0x20000000;
  ASSERT_EQ(0, ::setsockopt(out.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark));
  ASSERT_EQ(0, ::fchown(out.get(), 4711, 4711));
  connect_to(out, at(kThere6, 80));
  struct stat status {};
  ASSERT_EQ(0, ::fstat(out.get(), &status));
  const TcpSocket socket = find(local_of(out));
  EXPECT_EQ(at(kThere6, 80), socket.remote);
  EXPECT_EQ(4711u, socket.uid);
  EXPECT_EQ(status.st_ino, socket.inode);
  EXPECT_EQ(mark, socket.mark);
  EXPECT_EQ(0u, socket.device);
  EXPECT_NE(TcpSocket::kAnyCookie, socket.cookie);
}

TEST_F(SockDiagNetns, WhatStaysOnTheMachineIsLeftOut) {
  const UniqueFd service4 = listen_on(at("0.0.0.0", 80));
  const UniqueFd service6 = listen_on(at("::1", 81));
  const UniqueFd own4 = stream(AF_INET);
  const UniqueFd own6 = stream(AF_INET6);
  const UniqueFd own_lan = stream(AF_INET);
  connect_to(own4, at("127.0.0.1", 80));
  connect_to(own6, at("::1", 81));
  connect_to(own_lan, at(kHere4, 80));  // not loopback addresses, and not on the wire
  EXPECT_EQ(std::set<std::string>(), flows());
}

TEST_F(SockDiagNetns, DestroyCutsBothEnds) {
  const UniqueFd web4 = listen_there(at(kThere4, 80));
  const UniqueFd web6 = listen_there(at(kThere6, 80));
  struct Case {
    int family;
    Endpoint target;
    const UniqueFd* web;
  };
  for (const Case& one :
       {Case{AF_INET, at(kThere4, 80), &web4}, Case{AF_INET6, at(kThere6, 80), &web6},
        Case{AF_INET6, at("::ffff:192.0.2.2", 80), &web4}}) {
    const UniqueFd out = stream(one.family);
    connect_to(out, one.target);
    const UniqueFd peer = accept_from(*one.web);
    const UniqueFd other = stream(one.family);
    connect_to(other, one.target);
    const TcpSocket socket = find(local_of(out));
    const auto result = diag_->destroy(socket);
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(ECONNABORTED, next_read(out)) << to_string(one.target);
    EXPECT_EQ(ECONNRESET, next_read(peer)) << to_string(one.target);
    EXPECT_TRUE(diag_->destroy(socket)) << "gone already";
    find(local_of(other));  // still there
    const UniqueFd other_peer = accept_from(*one.web);
  }
}

TEST_F(SockDiagNetns, DestroyOfAConnectionInTheMaking) {
  const UniqueFd out = stream(AF_INET, SOCK_NONBLOCK);
  const SocketAddress nobody = to_sockaddr(at("192.0.2.99", 80));
  ASSERT_EQ(-1, ::connect(out.get(), nobody.get(), nobody.length));
  ASSERT_EQ(EINPROGRESS, errno);
  ASSERT_TRUE(diag_->destroy(find(local_of(out))));
  EXPECT_EQ(ECONNABORTED, next_read(out));
}

TEST_F(SockDiagNetns, DestroyFindsASocketThatIsBoundToADevice) {
  const UniqueFd web = listen_there(at(kThere4, 80));
  const UniqueFd out = stream(AF_INET);
  ASSERT_EQ(0, ::setsockopt(out.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5));
  connect_to(out, at(kThere4, 80));
  const TcpSocket socket = find(local_of(out));
  EXPECT_EQ(::if_nametoindex("eth0"), socket.device);
  ASSERT_TRUE(diag_->destroy(socket));
  EXPECT_EQ(ECONNABORTED, next_read(out));
}

TEST_F(SockDiagNetns, DestroyNeverHitsALaterSocketWithTheSameAddresses) {
  const UniqueFd web = listen_there(at(kThere4, 80));
  const UniqueFd out = stream(AF_INET);
  connect_to(out, at(kThere4, 80));
  TcpSocket socket = find(local_of(out));
  ++socket.cookie;
  const auto result = diag_->destroy(socket);
  EXPECT_TRUE(result) << result.error().message;
  find(local_of(out));
  socket.cookie = TcpSocket::kAnyCookie;
  ASSERT_TRUE(diag_->destroy(socket));
  EXPECT_EQ(ECONNABORTED, next_read(out));
}

TEST_F(SockDiagNetns, ThousandsOfSocketsAreListedOnceEach) {
  constexpr std::size_t kCount = 400;  // each end takes a descriptor; many buffers of a listing
  const UniqueFd service = listen_on(at(kHere4, 22));
  std::vector<UniqueFd> ends;
  for (std::size_t i = 0; i < kCount; ++i) {
    ends.push_back(connect_from_there(at(kHere4, 22)));
    ends.push_back(accept_from(service));
  }
  const auto sockets = connected();
  EXPECT_EQ(kCount, sockets.size());
  EXPECT_EQ(kCount, flows().size());
  EXPECT_EQ(kCount, inbound(sockets, *diag_->listeners()).size());
  for (const TcpSocket& socket : sockets) ASSERT_TRUE(diag_->destroy(socket));
  EXPECT_EQ(0u, connected().size());
}

}  // namespace
}  // namespace proxyvpn::netlink
