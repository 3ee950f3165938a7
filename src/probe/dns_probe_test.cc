#include "probe/dns_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "probe/bounded_io.h"
#include "probe/report.h"
#include "probe/scripted_server_test.h"

namespace proxyvpn::probe {
namespace {

using testing::answer_to;
using testing::Bytes;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::Peer;
using Scripted = testing::Server;

const IpAddress kAnswer = IpAddress::v4(0xc0000205);  // 192.0.2.5

ProbeOptions options_for(const Endpoint& server) {
  ProbeOptions out;
  out.name = "example.org";
  out.server.endpoint = server;
  out.timeout = milliseconds(15'000);  // never reached where an answer comes
  return out;
}

ProbeReport run(const ProbeOptions& options) {
  auto report = run_probe(options);
  EXPECT_TRUE(report) << report.error().message;
  return report ? std::move(*report) : ProbeReport{};
}

std::string failure_text(const ProbeReport& report) {
  return report.failure ? report.failure->error.message : "(no failure)";
}

#define EXPECT_FAILED_IN(expected_step, report)                               \
  do {                                                                        \
    ASSERT_TRUE((report).failure) << to_text(report);                         \
    EXPECT_EQ(expected_step, (report).failure->step) << failure_text(report); \
  } while (false)

// A port of 127.0.0.1 on which nobody listens: taken and given back.
template <int Type>
Endpoint nobody() {
  const UniqueFd fd(::socket(AF_INET, Type, 0));
  SocketAddress address = to_sockaddr(Endpoint{IpAddress::v4(0x7f000001), 0});
  EXPECT_EQ(0, ::bind(fd.get(), address.get(), address.length));
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.length);
  return from_sockaddr(address.get(), address.length).value_or(Endpoint{});
}

TEST(ProbeUdp, AnAnswerIsReportedWithItsTimes) {
  const auto server = Scripted::udp([](const Peer& peer) {
    SocketAddress from;
    const auto query = peer.receive_from(from);
    peer.send_to(from, answer_to(query, {kAnswer}));
  });
  const auto report = run(options_for(server.endpoint()));
  EXPECT_FALSE(report.failure) << failure_text(report);
  EXPECT_EQ("example.org. IN A", report.question);
  ASSERT_TRUE(report.answer);
  EXPECT_THAT(report.answer->addresses, ElementsAre(kAnswer));
  EXPECT_TRUE(report.times.dns);
  EXPECT_FALSE(report.times.connect);
  EXPECT_THAT(report.notes, IsEmpty());
}

TEST(ProbeUdp, AskedTwiceWhenNothingComes) {
  const auto server = Scripted::udp([](const Peer& peer) {
    SocketAddress from;
    const auto first = peer.receive_from(from);
    const auto second = peer.receive_from(from);
    EXPECT_EQ(first, second);
    peer.send_to(from, answer_to(second, {kAnswer}));
  });
  auto options = options_for(server.endpoint());
  options.resend_after = milliseconds(1);
  const auto report = run(options);
  EXPECT_FALSE(report.failure) << failure_text(report);
  EXPECT_THAT(report.notes, ElementsAre("no answer at first, asked a second time"));
}

TEST(ProbeUdp, AForgedAnswerIsPassedOver) {
  const auto server = Scripted::udp([](const Peer& peer) {
    SocketAddress from;
    const auto query = peer.receive_from(from);
    auto forged = answer_to(query, {IpAddress::v4(0x0a000001)});
    forged[0] ^= 0xff;
    peer.send_to(from, forged);
    peer.send_to(from, answer_to(query, {kAnswer}));
  });
  const auto report = run(options_for(server.endpoint()));
  EXPECT_FALSE(report.failure) << failure_text(report);
  ASSERT_TRUE(report.answer);
  EXPECT_THAT(report.answer->addresses, ElementsAre(kAnswer));
}

TEST(ProbeUdp, OnlyGarbageIsABadAnswer) {
  const auto server = Scripted::udp([](const Peer& peer) {
    SocketAddress from;
    static_cast<void>(peer.receive_from(from));
    peer.send_to(from, {'n', 'o'});
  });
  auto options = options_for(server.endpoint());
  options.timeout = milliseconds(300);
  const auto report = run(options);
  EXPECT_FAILED_IN(Step::Answer, report);
  EXPECT_THAT(failure_text(report), HasSubstr("it has 2 bytes"));
}

TEST(ProbeUdp, NoAnswerEndsAtTheDeadline) {
  const UniqueFd silent(::socket(AF_INET, SOCK_DGRAM, 0));
  SocketAddress address = to_sockaddr(Endpoint{IpAddress::v4(0x7f000001), 0});
  ASSERT_EQ(0, ::bind(silent.get(), address.get(), address.length));
  ::getsockname(silent.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.length);
  auto options = options_for(*from_sockaddr(address.get(), address.length));
  options.timeout = milliseconds(20);
  const auto report = run(options);
  EXPECT_FAILED_IN(Step::Wait, report);
  EXPECT_THAT(failure_text(report), HasSubstr("no answer within 20 ms"));
  EXPECT_GE(report.times.total, milliseconds(20));
  EXPECT_LT(report.times.total, milliseconds(5'000));
}

TEST(ProbeUdp, APortWithoutServerIsRefused) {
  const auto report = run(options_for(nobody<SOCK_DGRAM>()));
  EXPECT_FAILED_IN(Step::Send, report);
  EXPECT_EQ(ECONNREFUSED, report.failure->error.sys_errno);
  EXPECT_THAT(failure_text(report), HasSubstr("a firewall refused"));
}

TEST(ProbeUdp, AnErrorOfTheServerIsAFailureWithTheAnswerKept) {
  const auto server = Scripted::udp([](const Peer& peer) {
    SocketAddress from;
    const auto query = peer.receive_from(from);
    peer.send_to(from, answer_to(query, {}, 0x8183));
  });
  const auto report = run(options_for(server.endpoint()));
  EXPECT_FAILED_IN(Step::Rcode, report);
  EXPECT_THAT(failure_text(report), HasSubstr("answered NXDOMAIN to example.org. IN A"));
  EXPECT_TRUE(report.answer);
}

TEST(ProbeUdp, ATruncatedAnswerIsAskedForAgainOverTcp) {
  const auto tcp = Scripted::tcp({[](const Peer& peer) {
    const auto query = peer.read_message();
    auto answer = dns::with_length_prefix(answer_to(query, {kAnswer}));
    peer.send(Bytes(answer.begin(), answer.begin() + 1));  // the length itself comes in two parts
    peer.send(Bytes(answer.begin() + 1, answer.end()));
  }});
  const auto udp = Scripted::udp(
      [](const Peer& peer) {
        SocketAddress from;
        const auto query = peer.receive_from(from);
        peer.send_to(from, answer_to(query, {}, 0x8380));
      },
      tcp.endpoint().port);
  const auto report = run(options_for(udp.endpoint()));
  EXPECT_FALSE(report.failure) << failure_text(report);
  EXPECT_EQ(Transport::Tcp, report.transport);
  EXPECT_THAT(report.answer->addresses, ElementsAre(kAnswer));
  EXPECT_THAT(report.notes, Contains(HasSubstr("truncated")));
  EXPECT_TRUE(report.times.connect);
}

TEST(ProbeTcp, AsksWithoutUdpWhenTold) {
  const auto tcp = Scripted::tcp({[](const Peer& peer) {
    peer.send(dns::with_length_prefix(answer_to(peer.read_message(), {kAnswer})));
  }});
  auto options = options_for(tcp.endpoint());
  options.tcp = true;
  const auto report = run(options);
  EXPECT_FALSE(report.failure) << failure_text(report);
  EXPECT_EQ(Transport::Tcp, report.transport);
  EXPECT_THAT(report.answer->addresses, ElementsAre(kAnswer));
  EXPECT_THAT(report.notes, IsEmpty());
}

TEST(ProbeTcp, APortWithoutServerIsRefused) {
  auto options = options_for(nobody<SOCK_STREAM>());
  options.tcp = true;
  const auto report = run(options);
  EXPECT_FAILED_IN(Step::Send, report);
  EXPECT_EQ(ECONNREFUSED, report.failure->error.sys_errno);
}

TEST(ProbeUdp, AZoneThatIsNoLinkIsNamed) {
  ProbeOptions options = options_for({*IpAddress::parse("fe80::1"), 53});
  options.server.zone = "no-such-link";
  const auto report = run(options);
  EXPECT_FAILED_IN(Step::Send, report);
  EXPECT_THAT(failure_text(report), HasSubstr("no link 'no-such-link'"));
}

TEST(Probe, ANameThatCannotBeAskedForIsAnError) {
  ProbeOptions options;
  options.name = "two words";
  const auto report = run_probe(options);
  ASSERT_FALSE(report);
  EXPECT_EQ(Code::InvalidArgument, report.error().code);
}

// --- through a proxy ---

ProbeOptions through(const Endpoint& proxy,
                     std::optional<connect::Credentials> credentials = std::nullopt) {
  auto options = options_for({IpAddress::v4(0xc6336435), 53});  // 198.51.100.53: only the proxy's
  connect::ProxyUrl url;
  url.host = to_string(proxy.address);
  url.port = proxy.port;
  url.credentials = std::move(credentials);
  options.proxy = url;
  return options;
}

void answer_dns(const Peer& peer) {
  peer.send(dns::with_length_prefix(answer_to(peer.read_message(), {kAnswer})));
}

TEST(ProbeProxy, AsksOverTcpThroughConnect) {
  const auto proxy = Scripted::tcp({[](const Peer& peer) {
    const auto head = peer.read_head();
    EXPECT_THAT(head, ::testing::StartsWith("CONNECT 198.51.100.53:53 HTTP/1.1\r\n"));
    EXPECT_THAT(head, HasSubstr("\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n"));
    peer.send("HTTP/1.1 200 Connection established\r\n\r\n");
    answer_dns(peer);
  }});
  const auto report = run(through(proxy.endpoint(), connect::Credentials{"user", Secret("pass")}));
  EXPECT_FALSE(report.failure) << failure_text(report);
  EXPECT_EQ(Transport::TcpThroughProxy, report.transport);
  EXPECT_EQ(200, report.proxy_status);
  EXPECT_EQ(proxy.endpoint(), report.proxy);
  EXPECT_TRUE(report.times.connect);
  EXPECT_TRUE(report.times.handshake);
  EXPECT_TRUE(report.times.dns);
  EXPECT_THAT(report.answer->addresses, ElementsAre(kAnswer));
}

constexpr std::string_view kDigestChallenge =
    "HTTP/1.1 407 Proxy Authentication Required\r\n"
    "Proxy-Authenticate: Digest realm=\"lab\", nonce=\"abc\", qop=\"auth\", algorithm=SHA-256\r\n";

void accept_digest(const Peer& peer) {
  const auto head = peer.read_head();
  EXPECT_THAT(head, HasSubstr("Proxy-Authorization: Digest "));
  EXPECT_THAT(head, HasSubstr("username=\"user\""));
  EXPECT_THAT(head, Not(HasSubstr("pass")));
  peer.send("HTTP/1.1 200 OK\r\n\r\n");
  answer_dns(peer);
}

TEST(ProbeProxy, ADigestChallengeIsAnsweredOnTheSameConnection) {
  const auto proxy = Scripted::tcp({[](const Peer& peer) {
    static_cast<void>(peer.read_head());
    peer.send(std::string(kDigestChallenge) + "Content-Length: 4\r\n\r\nbody");
    accept_digest(peer);
  }});
  const auto report = run(through(proxy.endpoint(), connect::Credentials{"user", Secret("pass")}));
  EXPECT_FALSE(report.failure) << failure_text(report);
  EXPECT_THAT(report.answer->addresses, ElementsAre(kAnswer));
}

TEST(ProbeProxy, ADigestChallengeWithACloseIsAnsweredOnANewConnection) {
  const auto proxy = Scripted::tcp({[](const Peer& peer) {
                                      static_cast<void>(peer.read_head());
                                      peer.send(std::string(kDigestChallenge) +
                                                "Connection: close\r\nContent-Length: 0\r\n\r\n");
                                    },
                                    accept_digest});
  const auto report = run(through(proxy.endpoint(), connect::Credentials{"user", Secret("pass")}));
  EXPECT_FALSE(report.failure) << failure_text(report);
  EXPECT_THAT(report.answer->addresses, ElementsAre(kAnswer));
}

struct RefusalCase {
  const char* reply;
  Step step;
  const char* text;
};

TEST(ProbeProxy, WhatTheProxySaysDecidesTheStep) {
  const std::vector<RefusalCase> cases = {
      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Step::ProxyRefused, "status 403"},
      {"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", Step::ProxyRefused, "status 503"},
      {"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
       Step::ProxyRefused, "it wants a user name and a password"},
      {"SSH-2.0-OpenSSH_9.2p1\r\n", Step::ReachProxy, "no usable HTTP answer"},
      {"", Step::ReachProxy, "no usable HTTP answer"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.reply);
    const auto proxy = Scripted::tcp({[&](const Peer& peer) {
      static_cast<void>(peer.read_head());
      if (*one.reply != '\0') peer.send(std::string_view(one.reply));
    }});
    const auto report = run(through(proxy.endpoint()));
    EXPECT_FAILED_IN(one.step, report);
    EXPECT_THAT(failure_text(report), HasSubstr(one.text));
  }
}

TEST(ProbeProxy, WrongCredentialsNeverShowInTheText) {
  const auto proxy = Scripted::tcp({[](const Peer& peer) {
    static_cast<void>(peer.read_head());
    peer.send(
        "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=\"x\"\r\n"
        "Content-Length: 0\r\n\r\n");
    peer.read_to_end();
  }});
  const auto report =
      run(through(proxy.endpoint(), connect::Credentials{"user", Secret("hunter2")}));
  EXPECT_FAILED_IN(Step::ProxyRefused, report);
  EXPECT_THAT(failure_text(report), HasSubstr("check user name and password"));
  EXPECT_THAT(failure_text(report) + to_text(report), Not(HasSubstr("hunter2")));
}

TEST(ProbeProxy, TinyproxysWordForWrongCredentialsIsExplained) {
  const auto proxy = Scripted::tcp({[](const Peer& peer) {
    static_cast<void>(peer.read_head());
    peer.send("HTTP/1.0 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
  }});
  const auto report = run(through(proxy.endpoint(), connect::Credentials{"user", Secret("no")}));
  EXPECT_FAILED_IN(Step::ProxyRefused, report);
  EXPECT_THAT(failure_text(report), HasSubstr("wrong user name or password"));
}

TEST(ProbeProxy, NobodyThereIsAProxyNotReached) {
  const auto report = run(through(nobody<SOCK_STREAM>()));
  EXPECT_FAILED_IN(Step::ReachProxy, report);
  EXPECT_EQ(ECONNREFUSED, report.failure->error.sys_errno);
}

TEST(ProbeProxy, ASilentProxyEndsAtTheDeadline) {
  const auto proxy = Scripted::tcp({[](const Peer& peer) { peer.read_to_end(); }});
  auto options = through(proxy.endpoint());
  options.timeout = milliseconds(50);
  const auto report = run(options);
  EXPECT_FAILED_IN(Step::ReachProxy, report);
  EXPECT_EQ(Code::Timeout, report.failure->error.code);
}

TEST(ProbeProxy, ATunnelThatIsClosedEarlyIsABadAnswer) {
  const auto proxy = Scripted::tcp({[](const Peer& peer) {
    static_cast<void>(peer.read_head());
    peer.send("HTTP/1.1 200 OK\r\n\r\n");
    static_cast<void>(peer.read_message());
    peer.send(Bytes{0, 50, 1});
  }});
  const auto report = run(through(proxy.endpoint()));
  EXPECT_FAILED_IN(Step::Answer, report);
  EXPECT_THAT(failure_text(report), HasSubstr("closed after 3 bytes"));
}

TEST(ProbeProxy, AServerBehindTheTunnelThatSaysNothingIsATimeout) {
  const auto proxy = Scripted::tcp({[](const Peer& peer) {
    static_cast<void>(peer.read_head());
    peer.send("HTTP/1.1 200 OK\r\n\r\n");
    peer.read_to_end();
  }});
  auto options = through(proxy.endpoint());
  options.timeout = milliseconds(300);
  const auto report = run(options);
  EXPECT_FAILED_IN(Step::Wait, report);
}

TEST(BoundedIo, LiteralsNeedNoResolverAndLocalhostResolves) {
  const auto deadline = Deadline::in(milliseconds(15'000));
  const auto literal = resolve_host("2001:db8::1", deadline);
  ASSERT_TRUE(literal) << literal.error().message;
  EXPECT_EQ("2001:db8::1", to_string(literal->at(0)));
  const auto local = resolve_host("localhost", deadline);
  ASSERT_TRUE(local) << local.error().message;
  EXPECT_TRUE(local->at(0).is_loopback());
}

TEST(BoundedIo, ResolvingEndsAtTheDeadline) {
  const auto none = resolve_host("localhost", Deadline::in(milliseconds(0)));
  ASSERT_FALSE(none);
  EXPECT_EQ(Code::Timeout, none.error().code);
}

}  // namespace
}  // namespace proxyvpn::probe
