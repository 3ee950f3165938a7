#include "probe/refusal_probe.h"

#include <gtest/gtest.h>

#include "probe/scripted_server_test.h"

namespace proxyvpn::probe {
namespace {

using testing::Peer;
using Scripted = testing::Server;

Deadline soon() { return Deadline::in(milliseconds(15'000)); }

TEST(RefusalProbe, APortWithoutAListenerRefusesAtOnce) {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM, 0));
  SocketAddress address = to_sockaddr(Endpoint{IpAddress::v4(0x7f000001), 0});
  ASSERT_EQ(0, ::bind(fd.get(), address.get(), address.length));
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.length);
  const auto nobody = from_sockaddr(address.get(), address.length).value_or(Endpoint{});
  fd.reset();
  const auto report = probe_refusal(nobody, soon());
  EXPECT_EQ(Refusal::AtOnce, report.outcome);
  EXPECT_EQ(ECONNREFUSED, report.sys_errno);
}

TEST(RefusalProbe, AnAnswerAndSilenceAreToldApart) {
  const auto echo = Scripted::udp([](const Peer& peer) {
    SocketAddress from;
    peer.send_to(from, peer.receive_from(from));
  });
  EXPECT_EQ(Refusal::Answered, probe_refusal(echo.endpoint(), soon()).outcome);
  const auto mute = Scripted::udp([](const Peer& peer) {
    SocketAddress from;
    peer.receive_from(from);
  });
  EXPECT_EQ(Refusal::Silent,
            probe_refusal(mute.endpoint(), Deadline::in(milliseconds(20))).outcome);
}

TEST(HttpDate, IsReadFromTheHead) {
  EXPECT_EQ(
      784'111'777,
      parse_date("HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n").value_or(0));
  EXPECT_EQ(Code::NotFound, parse_date("HTTP/1.1 200 OK\r\nX-Date: no\r\n\r\n").error().code);
  EXPECT_EQ(Code::NotFound, parse_date("").error().code);
  EXPECT_EQ(Code::Protocol, parse_date("HTTP/1.1 200 OK\r\nDate: today\r\n\r\n").error().code);
  EXPECT_EQ(Code::Protocol, parse_date("HTTP/1.1 200 OK\r\nDate:").error().code);
}

TEST(HttpDate, IsAskedOfAServer) {
  const auto server = Scripted::tcp({[](const Peer& peer) {
    EXPECT_NE(std::string::npos, peer.read_head().find("Host: web.test\r\n"));
    peer.send("HTTP/1.1 301 Moved\r\nDate: Sun, 06 Nov");
    peer.send(" 1994 08:49:37 GMT\r\n\r\n");
  }});
  const auto fd = connect_tcp(to_sockaddr(server.endpoint()), "the server", std::nullopt, soon());
  ASSERT_TRUE(fd) << fd.error().message;
  EXPECT_EQ(784'111'777, ask_date(fd->get(), "web.test", soon()).value_or(0));
}

}  // namespace
}  // namespace proxyvpn::probe
