#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>

#include "connect/refusal.h"
#include "connect/trial.h"
#include "connect/tunnel_table.h"
#include "testing/fake_flow.h"

namespace proxyvpn::connect {
namespace {

using stack::Refusal;
using testing::FakeFlow;

const stack::FlowKey kKey{*parse_endpoint("10.0.0.5:40000"), *parse_endpoint("192.0.2.7:443")};
constexpr char kOkReply[] = "HTTP/1.1 200 OK\r\n\r\n";

class PlainSockets final : public SocketSource {
 public:
  UniqueFd take(Family family) noexcept override {
    if (empty) return {};
    UniqueFd fd(::socket(family == Family::V4 ? AF_INET : AF_INET6,
                         SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (from) {
      const auto address = to_sockaddr(*from);
      EXPECT_EQ(::bind(fd.get(), address.get(), address.length), 0);
    }
    return fd;
  }
  bool empty = false;
  std::optional<Endpoint> from;  // the one local address and port there is
};

// A listener on loopback, and the proxy's side of what was accepted there.
class ScriptedProxy {
 public:
  ScriptedProxy() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    auto address = to_sockaddr({*IpAddress::parse("127.0.0.1"), 0});
    EXPECT_EQ(::bind(listener_.get(), address.get(), address.length), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    socklen_t length = sizeof address.storage;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address.storage), &length);
    endpoint = *from_sockaddr(address.get(), length);
  }
  bool accept() {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK));
    if (!fd) return false;
    peer = std::move(fd);
    return true;
  }
  std::string read() {
    std::string out(65536, '\0');
    const ssize_t n = ::recv(peer.get(), out.data(), out.size(), 0);
    if (n == 0) closed = true;
    if (n < 0 && errno == ECONNRESET) reset = true;
    out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return out;
  }
  void write(const std::string& text) {
    EXPECT_EQ(::send(peer.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  void hard_close() {
    const linger hard{1, 0};
    ::setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    peer.reset();
  }
  void stop_listening() { listener_.reset(); }

  Endpoint endpoint;
  UniqueFd peer;
  bool closed = false;
  bool reset = false;

 private:
  UniqueFd listener_;
};

class TunnelTest : public ::testing::Test {
 protected:
  TunnelTest() { make({}); }
  void make(TunnelOptions options, std::optional<Credentials> credentials = std::nullopt) {
    ProxyEvents events;
    events.lost = [this](Trouble t, int, int) {
      lost.push_back(t);
      told_after_refusal |= flow.refused.has_value();
    };
    events.back = [this] { ++back; };
    events.resolve = [this] { ++resolves; };
    table.reset();
    table = std::make_unique<TunnelTable>(reactor, sockets, std::vector<Endpoint>{proxy.endpoint},
                                          std::move(credentials), options, std::move(events));
  }
  // Turns the loop until something holds, for two seconds at most.
  bool until(const std::function<bool()>& done) {
    const auto limit = Clock::now() + seconds(2);
    while (Clock::now() < limit) {
      if (done()) return true;
      reactor.turn(milliseconds(5));
      table->end_of_turn();
    }
    return done();
  }
  // A SYN, up to the proxy having read the request.
  void ask() {
    table->on_syn(flow);
    std::string request;
    ASSERT_TRUE(until([&] { return proxy.accept(); }));
    ASSERT_TRUE(until([&] {
      request += proxy.read();
      return request.find("\r\n\r\n") != std::string::npos;
    }));
    EXPECT_EQ(request.rfind("CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n", 0), 0U)
        << request;
  }
  void open() {
    ask();
    EXPECT_FALSE(flow.accepted) << "accepted before the proxy answered";
    proxy.write(kOkReply);
    ASSERT_TRUE(until([&] { return flow.accepted; }));
    flow.establish();
  }

  event::Reactor reactor = *event::Reactor::open();
  PlainSockets sockets;
  ScriptedProxy proxy;
  FakeFlow flow{kKey};
  std::vector<Trouble> lost;
  bool told_after_refusal = false;
  int back = 0;
  int resolves = 0;
  std::unique_ptr<TunnelTable> table;
};

TEST_F(TunnelTest, RelaysBothWaysAndEndsWithBothFins) {
  open();
  flow.app_sends("question");
  std::string got;
  ASSERT_TRUE(until([&] { return (got += proxy.read()) == "question"; }));
  proxy.write("answer");
  ASSERT_TRUE(until([&] { return flow.to_app == "answer"; }));
  flow.app_finishes();
  ASSERT_TRUE(until([&] {
    proxy.read();
    return proxy.closed;
  }));
  EXPECT_FALSE(flow.finished) << "half-close by the application closed the other direction";
  proxy.write(" and more");
  ASSERT_TRUE(until([&] { return flow.to_app == "answer and more"; }));
  proxy.peer.reset();
  ASSERT_TRUE(until([&] { return flow.finished; }));
  EXPECT_FALSE(flow.aborted);
  flow.handler->on_closed();
  table->end_of_turn();
  EXPECT_EQ(table->size(), 0U);
  EXPECT_EQ(table->counters().bytes_up, 8U);
  EXPECT_EQ(table->counters().bytes_down, 15U);
}

TEST_F(TunnelTest, HalfCloseByTheServerLeavesTheOtherDirectionOpen) {
  open();
  proxy.write("bye");
  ::shutdown(proxy.peer.get(), SHUT_WR);
  ASSERT_TRUE(until([&] { return flow.finished; }));
  EXPECT_EQ(flow.to_app, "bye");
  flow.app_sends("still here");
  std::string got;
  ASSERT_TRUE(until([&] { return (got += proxy.read()) == "still here"; }));
  EXPECT_EQ(table->size(), 1U);
}

TEST_F(TunnelTest, BytesBehindTheReplyAreTheTunnels) {
  ask();
  proxy.write(std::string(kOkReply) + "SSH-2.0-x\r\n");
  ASSERT_TRUE(until([&] { return flow.accepted; }));
  EXPECT_EQ(flow.to_app, "");
  flow.establish();
  EXPECT_EQ(flow.to_app, "SSH-2.0-x\r\n");
  proxy.write("next");
  ASSERT_TRUE(until([&] { return flow.to_app == "SSH-2.0-x\r\nnext"; }));
}

TEST_F(TunnelTest, AResetFromTheServerBecomesAReset) {
  open();
  proxy.hard_close();
  ASSERT_TRUE(until([&] { return flow.aborted; }));
  EXPECT_FALSE(flow.finished);
  EXPECT_EQ(table->size(), 0U);
}

TEST_F(TunnelTest, AResetFromTheApplicationBecomesAReset) {
  open();
  flow.app_resets();
  ASSERT_TRUE(until([&] {
    proxy.read();
    return proxy.reset || proxy.closed;
  }));
  EXPECT_TRUE(proxy.reset);
}

TEST_F(TunnelTest, ASlowApplicationStopsTheReading) {
  open();
  flow.room = 10000;
  std::string sent;
  const std::string piece(60000, 'x');
  // Until the kernel's buffers on the way are full: nothing more is taken from the proxy.
  for (int i = 0; i < 300; ++i) {
    const ssize_t n =
        ::send(proxy.peer.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) sent.append(piece, 0, static_cast<std::size_t>(n));
    reactor.turn(Duration::zero());
    table->end_of_turn();
  }
  EXPECT_EQ(flow.to_app.size(), 10000U);
  ASSERT_GT(sent.size(), 10000U);
  ASSERT_TRUE(until([&] {
    flow.room = 50000;
    flow.handler->on_writable();
    return flow.to_app.size() == sent.size();
  }));
  EXPECT_EQ(flow.to_app, sent);
}

TEST_F(TunnelTest, GreedyConnectionsReadInTurns) {
  constexpr int kFlows = 4;
  std::vector<std::unique_ptr<FakeFlow>> flows;
  std::vector<UniqueFd> peers;
  const std::string piece(1 << 20, 'x');
  const auto fill = [&] {
    for (const auto& peer : peers)
      ::send(peer.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  };
  for (int i = 0; i < kFlows; ++i) {
    flows.push_back(std::make_unique<FakeFlow>(kKey));
    FakeFlow& one = *flows.back();
    one.room = 64 << 20;
    table->on_syn(one);
    ASSERT_TRUE(until([&] { return proxy.accept(); }));
    ASSERT_TRUE(until([&] { return !proxy.read().empty(); }));
    proxy.write(kOkReply);
    ASSERT_TRUE(until([&] { return one.accepted; }));
    one.establish();
    peers.push_back(std::move(proxy.peer));
  }
  fill();
  std::uint64_t most = 0;
  for (int i = 0; i < 200; ++i) {
    fill();
    const std::uint64_t before = table->counters().bytes_down;
    reactor.turn(Duration::zero());
    table->end_of_turn();
    if (i > 20) most = std::max(most, table->counters().bytes_down - before);
  }
  EXPECT_LE(most, 1U << 20) << "a turn is as long as the number of greedy connections";
  for (const auto& one : flows) EXPECT_GT(one->to_app.size(), 1U << 20);
  table.reset();
}

TEST_F(TunnelTest, ASlowServerLeavesBytesWithTheFlow) {
  open();
  const std::string bytes(16 << 20, 'y');
  flow.app_sends(bytes);
  reactor.turn(Duration::zero());
  EXPECT_GT(flow.from_app.size(), 0U) << "everything was swallowed although nobody reads";
  std::size_t got = 0;
  ASSERT_TRUE(until([&] {
    for (std::string more; !(more = proxy.read()).empty();) got += more.size();
    return got == bytes.size();
  }));
  flow.app_finishes();
  ASSERT_TRUE(until([&] {
    proxy.read();
    return proxy.closed;
  }));
}

struct StatusCase {
  const char* status;
  Refusal refusal;
};

TEST_F(TunnelTest, EveryStatusHasItsErrno) {
  for (const auto& c :
       {StatusCase{"502 Bad Gateway", Refusal::Refused}, StatusCase{"503 No", Refusal::Refused},
        StatusCase{"500 Unable to connect", Refusal::Refused},
        StatusCase{"504 Timeout", Refusal::HostUnreachable},
        StatusCase{"403 Forbidden", Refusal::Prohibited}, StatusCase{"405 No", Refusal::Prohibited},
        StatusCase{"451 Legal", Refusal::Prohibited},
        StatusCase{"404 What", Refusal::HostUnreachable},
        StatusCase{"302 Found", Refusal::Prohibited}}) {
    FakeFlow one(kKey);
    table->on_syn(one);
    ASSERT_TRUE(until([&] { return proxy.accept(); }));
    ASSERT_TRUE(until([&] { return !proxy.read().empty(); }));
    proxy.write(std::string("HTTP/1.1 ") + c.status + "\r\nContent-Length: 0\r\n\r\n");
    ASSERT_TRUE(until([&] { return one.refused.has_value(); })) << c.status;
    EXPECT_EQ(*one.refused, c.refusal) << c.status;
    EXPECT_TRUE(lost.empty()) << "a refused target is not a lost proxy";
  }
  EXPECT_EQ(table->pending(), 0U);
}

TEST_F(TunnelTest, AProxyThatIsNotThereIsToldOnceAndNewFlowsFailAtOnce) {
  proxy.stop_listening();
  table->on_syn(flow);
  ASSERT_TRUE(until([&] { return flow.refused.has_value(); }));
  EXPECT_EQ(*flow.refused, Refusal::NetworkUnreachable);
  EXPECT_EQ(lost, std::vector<Trouble>{Trouble::Unreachable});
  EXPECT_GE(resolves, 1);
  FakeFlow second(kKey);
  table->on_syn(second);
  EXPECT_EQ(second.refused, Refusal::NetworkUnreachable) << "not refused at once";
  EXPECT_EQ(lost.size(), 1U);
  EXPECT_EQ(table->counters().refused_proxy_lost, 2U) << "the one that found it out counts too";
  // `run` ends with its command, which may end as soon as it sees the error.
  EXPECT_FALSE(told_after_refusal);
}

TEST_F(TunnelTest, AProxyThatComesBackIsFoundByTheProbe) {
  const Endpoint right = proxy.endpoint;
  Endpoint wrong = right;
  {
    ScriptedProxy gone;
    wrong = gone.endpoint;
  }
  table->set_proxies(std::vector<Endpoint>{wrong});
  table->on_syn(flow);
  ASSERT_TRUE(until([&] { return lost.size() == 1; }));
  table->set_proxies(std::vector<Endpoint>{right});
  ASSERT_TRUE(until([&] { return back == 1; }));
  EXPECT_FALSE(table->health().lost());
}

TEST_F(TunnelTest, RefusedCredentialsAreALoudTroubleNotAHang) {
  ask();
  proxy.write(
      "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(until([&] { return flow.refused.has_value(); }));
  EXPECT_EQ(*flow.refused, Refusal::NetworkUnreachable);
  EXPECT_EQ(lost, std::vector<Trouble>{Trouble::Authentication});
}

TEST_F(TunnelTest, TinyproxysWayOfRefusingCredentialsIsTheSameTrouble) {
  ask();
  proxy.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(until([&] { return flow.refused.has_value(); }));
  EXPECT_EQ(*flow.refused, Refusal::NetworkUnreachable);
  EXPECT_EQ(lost, std::vector<Trouble>{Trouble::Authentication});
}

TEST_F(TunnelTest, DigestIsAnsweredAlsoOnANewConnection) {
  make({}, Credentials{"user", Secret("pass")});
  ask();
  proxy.write(
      "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", "
      "algorithm=SHA-256\r\n"
      "Connection: close\r\nContent-Length: 0\r\n\r\n");
  proxy.peer.reset();
  ASSERT_TRUE(until([&] { return proxy.accept(); }));
  std::string request;
  ASSERT_TRUE(
      until([&] { return (request += proxy.read()).find("\r\n\r\n") != std::string::npos; }));
  EXPECT_NE(request.find("Proxy-Authorization: Digest "), std::string::npos) << request;
  proxy.write(kOkReply);
  ASSERT_TRUE(until([&] { return flow.accepted; }));
  EXPECT_TRUE(lost.empty());
}

TEST_F(TunnelTest, OneClosedConnectionIsNotALostProxyButThreeAre) {
  for (int i = 0; i < 3; ++i) {
    FakeFlow one(kKey);
    table->on_syn(one);
    ASSERT_TRUE(until([&] { return proxy.accept(); }));
    ASSERT_TRUE(until([&] { return !proxy.read().empty(); }));
    proxy.peer.reset();
    ASSERT_TRUE(until([&] { return one.refused.has_value(); }));
    EXPECT_EQ(lost.empty(), i < 2);
  }
  EXPECT_EQ(lost, std::vector<Trouble>{Trouble::Closed});
}

TEST_F(TunnelTest, AProxyThatDoesNotAnswerInTimeIsAnUnreachableHost) {
  make({.connect_timeout = milliseconds(50)});
  ask();
  ASSERT_TRUE(until([&] { return flow.refused.has_value(); }));
  EXPECT_EQ(*flow.refused, Refusal::HostUnreachable);
  EXPECT_EQ(table->counters().timeouts, 1U);
}

TEST_F(TunnelTest, ASilentProxyIsLostButASilentTargetIsNot) {
  make({.connect_timeout = milliseconds(20)});
  for (int i = 0; i < 5; ++i) {
    FakeFlow same(kKey);
    table->on_syn(same);
    ASSERT_TRUE(until([&] { return same.refused.has_value(); }));
  }
  EXPECT_TRUE(lost.empty());
  for (int i = 0; i < 4 && lost.empty(); ++i) {
    auto key = kKey;
    key.destination.port = static_cast<std::uint16_t>(1000 + i);
    FakeFlow other(key);
    table->on_syn(other);
    ASSERT_TRUE(until([&] { return other.refused.has_value(); }));
  }
  EXPECT_EQ(lost, std::vector<Trouble>{Trouble::Slow});
}

TEST_F(TunnelTest, AGreetingThatCameWithTheConnectionIsRead) {
  table->on_syn(flow);
  // Loopback: connected already, which the loop has not seen yet.
  ASSERT_TRUE(proxy.accept());
  proxy.write("SSH-2.0-OpenSSH_9.2\r\n");
  ASSERT_TRUE(until([&] { return flow.refused.has_value(); })) << "the greeting was never read";
  EXPECT_EQ(flow.refused, stack::Refusal::NetworkUnreachable);
}

TEST_F(TunnelTest, NewsOfTheProxyIsTriedAtOnce) {
  make({});
  const Endpoint right = proxy.endpoint;
  Endpoint wrong = right;
  {
    ScriptedProxy gone;
    wrong = gone.endpoint;
  }
  table->set_proxies(std::vector<Endpoint>{wrong});
  for (int i = 0; i < 6; ++i) {  // far into the back-off
    FakeFlow one(kKey);
    table->on_syn(one);
    ASSERT_TRUE(until([&] { return one.refused.has_value(); }));
  }
  ASSERT_EQ(lost.size(), 1U);
  table->set_proxies(std::vector<Endpoint>{right});
  EXPECT_LE(table->health().retry_at(), reactor.now()) << "the back-off goes on";
  ASSERT_TRUE(until([&] { return back == 1; }));
}

TEST_F(TunnelTest, AnApplicationThatGivesUpWhileItWaitsEndsTheAttempt) {
  ask();
  flow.app_resets();
  ASSERT_TRUE(until([&] {
    proxy.read();
    return proxy.reset || proxy.closed;
  }));
  EXPECT_EQ(table->pending(), 0U);
}

TEST_F(TunnelTest, AFloodOfSynsIsBounded) {
  make({.max_pending = 4});
  sockets.empty = true;
  std::vector<std::unique_ptr<FakeFlow>> flows;
  for (int i = 0; i < 10; ++i) {
    flows.push_back(std::make_unique<FakeFlow>(kKey));
    table->on_syn(*flows.back());
  }
  EXPECT_EQ(table->size(), 4U);
  EXPECT_EQ(table->counters().dropped_at_limit, 6U);
  EXPECT_EQ(flows.back()->handler, nullptr) << "dropped SYNs have no handler, so they come again";
  sockets.empty = false;
  table->sockets_available();
  ASSERT_TRUE(until([&] { return proxy.accept(); }));
  table.reset();  // before the flows that it knows
}

TEST_F(TunnelTest, WithoutAPortAFlowWaitsAndTheProxyIsNotToBlame) {
  open();
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  ASSERT_EQ(::getpeername(proxy.peer.get(), address, &length), 0);
  std::vector<std::unique_ptr<FakeFlow>> others;
  for (int i = 0; i < 40; ++i) {
    others.push_back(std::make_unique<FakeFlow>(kKey));
    table->on_syn(*others.back());
  }
  std::vector<UniqueFd> peers;
  peers.push_back(std::move(proxy.peer));
  EXPECT_TRUE(until([&] {
    if (proxy.accept()) peers.push_back(std::move(proxy.peer));
    return peers.size() == 41;
  }));
  sockets.from = *from_sockaddr(address, length);  // taken, so connect(2) says EADDRNOTAVAIL
  FakeFlow waits(kKey);
  table->on_syn(waits);
  EXPECT_FALSE(until([&] { return waits.refused.has_value() || !lost.empty() || proxy.accept(); }));
  sockets.from.reset();
  EXPECT_TRUE(until([&] { return proxy.accept(); })) << "a port is looked for again";
  table.reset();
}

TEST_F(TunnelTest, AConnectionOpenedAheadCarriesTheNextFlow) {
  make({.preconnect = 2});
  open();
  // The demand of the first flow opens one ahead.
  ASSERT_TRUE(until([&] { return proxy.accept(); }));
  FakeFlow second(kKey);
  table->on_syn(second);
  ASSERT_TRUE(until([&] { return !proxy.read().empty(); }))
      << "the request did not come on the open connection";
  proxy.write(kOkReply);
  ASSERT_TRUE(until([&] { return second.accepted; }));
  table.reset();
}

TEST_F(TunnelTest, AConnectionThatTheProxyHasClosedMeanwhileIsReplaced) {
  make({.preconnect = 1});
  open();
  ASSERT_TRUE(until([&] { return proxy.accept(); }));
  FakeFlow second(kKey);
  table->on_syn(second);
  // Closed without a byte, as a proxy does with a connection that idled too long.
  ASSERT_TRUE(until([&] { return !proxy.read().empty(); }));
  proxy.hard_close();
  // The request comes again on a fresh connection; another one is opened ahead beside it.
  std::vector<UniqueFd> peers;
  ASSERT_TRUE(until([&] {
    if (proxy.accept()) peers.push_back(std::move(proxy.peer));
    for (auto& peer : peers) {
      char byte = 0;
      if (::recv(peer.get(), &byte, 1, 0) == 1)
        ::send(peer.get(), kOkReply, sizeof kOkReply - 1, MSG_NOSIGNAL);
    }
    return second.accepted;
  }));
  EXPECT_TRUE(lost.empty());
  EXPECT_FALSE(second.refused);
  table.reset();
}

TEST_F(TunnelTest, AProxyOnThisMachineThatIsCapturedItselfIsNoticed) {
  // Each request makes the next SYN for the same target, as a captured proxy's would.
  std::vector<std::unique_ptr<FakeFlow>> flows;
  for (int i = 0; i < 200 && lost.empty(); ++i) {
    flows.push_back(std::make_unique<FakeFlow>(kKey));
    table->on_syn(*flows.back());
  }
  EXPECT_EQ(lost, std::vector<Trouble>{Trouble::Loop});
  EXPECT_LT(flows.size(), 100U);
  EXPECT_EQ(table->pending(), 0U);
  EXPECT_GE(resolves, 1);
  table.reset();
}

TEST_F(TunnelTest, KillAndStopResetBothSides) {
  open();
  EXPECT_FALSE(table->kill(4711));
  EXPECT_TRUE(table->kill(1));
  EXPECT_TRUE(flow.aborted);
  ASSERT_TRUE(until([&] {
    proxy.read();
    return proxy.reset;
  }));
  EXPECT_EQ(table->size(), 0U);
}

// What a trial came to, with a proxy that answers each attempt with `reply` and closes; nothing is
// answered when it is empty.
class TrialTest : public TunnelTest {
 protected:
  std::optional<TrialResult> run(const std::string& reply, Duration patience = seconds(2)) {
    std::optional<TrialResult> result;
    Trial trial(*table, reactor, [&](TrialResult r) { result = r; });
    trial.start(patience);
    until([&] {
      if (proxy.accept()) ++connections;
      if (proxy.peer && !reply.empty() &&
          (request += proxy.read()).find("\r\n\r\n") != request.npos) {
        proxy.write(reply);
        proxy.peer.reset();
        last_request = std::exchange(request, "");
      }
      return result.has_value();
    });
    return result;
  }
  int connections = 0;
  std::string request;
  std::string last_request;
};

TEST_F(TrialTest, AnyAnswerInGoodOrderShowsThatTrafficFlows) {
  for (const char* reply : {"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\n\r\n",
                            "HTTP/1.1 403 Forbidden\r\n\r\n"}) {
    EXPECT_EQ(run(reply), TrialResult::Answered) << reply;
    EXPECT_EQ(last_request.rfind("CONNECT proxyvpn.invalid:443 HTTP/1.1\r\n", 0), 0U);
  }
  EXPECT_TRUE(lost.empty());
  EXPECT_EQ(connections, 3);
  EXPECT_EQ(table->size(), 0U);
  EXPECT_EQ(table->counters().total, 0U);
  EXPECT_EQ(table->counters().refused_by_proxy, 0U);
  EXPECT_EQ(table->counters().resets, 0U);
}

TEST_F(TrialTest, RefusedCredentialsFailAtTheFirstAnswer) {
  EXPECT_EQ(run("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"),
            TrialResult::Failed);
  EXPECT_EQ(lost, std::vector<Trouble>{Trouble::Authentication});
  EXPECT_EQ(connections, 1);
}

TEST_F(TrialTest, NonsenseIsAskedAgainBeforeItCounts) {
  EXPECT_EQ(run("SSH-2.0-OpenSSH_9.2\r\n\r\n"), TrialResult::Failed);
  EXPECT_EQ(lost, std::vector<Trouble>{Trouble::NotHttp});
  EXPECT_EQ(connections, 3);
}

TEST_F(TrialTest, AProxyThatIsNotThereFails) {
  proxy.stop_listening();
  EXPECT_EQ(run(""), TrialResult::Failed);
  EXPECT_EQ(lost, std::vector<Trouble>{Trouble::Unreachable});
}

TEST_F(TrialTest, ASlowAnswerIsNoFailure) {
  EXPECT_EQ(run("", milliseconds(50)), TrialResult::Unanswered);
  EXPECT_TRUE(lost.empty());
  EXPECT_EQ(table->size(), 0U);
  EXPECT_EQ(table->counters().resets, 0U);

  make({.connect_timeout = milliseconds(20)});
  EXPECT_EQ(run(""), TrialResult::Answered);
  EXPECT_EQ(table->counters().timeouts, 0U);
}

TEST(ProxyHealth, BacksOffAndTellsOnce) {
  ProxyHealth health;
  TimePoint now{};
  EXPECT_TRUE(health.failed(Trouble::Unreachable, now));
  EXPECT_FALSE(health.failed(Trouble::Unreachable, now));
  Duration last{};
  for (int i = 0; i < 12; ++i) {
    ASSERT_FALSE(health.take_retry(health.retry_at() - milliseconds(1)));
    now = health.retry_at();
    ASSERT_TRUE(health.take_retry(now));
    const Duration wait = health.retry_at() - now;
    EXPECT_GE(wait, last);
    EXPECT_LE(wait, ProxyHealth::kLastRetry);
    last = wait;
  }
  EXPECT_EQ(last, ProxyHealth::kLastRetry);
  EXPECT_TRUE(health.connected());
  EXPECT_FALSE(health.lost());
}

TEST(ProxyHealth, AWrongPasswordIsTriedRarely) {
  ProxyHealth health;
  EXPECT_TRUE(health.failed(Trouble::Authentication, TimePoint{}));
  EXPECT_FALSE(health.connected()) << "a TCP connection says nothing about the password";
  EXPECT_GE(health.retry_at() - TimePoint{}, seconds(5));
  EXPECT_TRUE(health.worked());
}

}  // namespace
}  // namespace proxyvpn::connect
