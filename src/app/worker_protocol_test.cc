#include "app/worker_protocol.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "testing/addresses.h"

namespace proxyvpn::app {
namespace {

using proxyvpn::testing::ip;

std::vector<ToSupervisor> every_message_to_supervisor() {
  return {NeedSockets{Family::V4, 1},
          NeedSockets{Family::V6, kMaxSocketsPerMessage},
          ProxyLost{Trouble::Unreachable, 0, ECONNREFUSED},
          ProxyLost{Trouble::Authentication, 407, 0},
          ProxyLost{Trouble::Loop, 999, 4095},
          ProxyBack{},
          Resolve{},
          Ready{},
          Beat{}};
}

std::vector<ToWorker> every_message_to_worker() {
  ProxyAddresses both{{{ip("192.0.2.1"), 3128}, {ip("2001:db8::1"), 65535}}};
  ProxyAddresses most;
  for (std::size_t i = 0; i < kMaxProxyAddresses; ++i) {
    most.endpoints.push_back({ip("2001:db8::ffff"), static_cast<std::uint16_t>(i + 1)});
  }
  return {Sockets{Family::V4, 0},
          Sockets{Family::V6, kMaxSocketsPerMessage},
          both,
          most,
          Stop{},
          SetVerbose{true},
          SetVerbose{false},
          SetOptions{2500, 8, log::Level::Debug},
          SetCredentials{true, "alice", Secret("her password")},
          SetCredentials{},
          KillFlow{0x0123456789abcdef},
          DumpFlows{5000}};
}

// What a message says, comparable: encoding is injective, which the round trip below shows.
std::size_t kind(const ToSupervisor& m) { return m.index(); }
std::size_t kind(const ToWorker& m) { return m.index(); }

TEST(WorkerProtocol, EveryMessageToTheSupervisorComesBackAsItWas) {
  for (const auto& message : every_message_to_supervisor()) {
    const auto bytes = encode(message);
    ASSERT_LE(bytes.size(), kMaxWorkerMessage);
    const auto decoded = decode_to_supervisor(bytes);
    ASSERT_TRUE(decoded) << kind(message);
    EXPECT_EQ(kind(*decoded), kind(message));
    EXPECT_EQ(encode(*decoded), bytes);
  }
}

TEST(WorkerProtocol, EveryMessageToAWorkerComesBackAsItWas) {
  for (const auto& message : every_message_to_worker()) {
    const auto bytes = encode(message);
    ASSERT_LE(bytes.size(), kMaxWorkerMessage);
    const auto decoded = decode_to_worker(bytes);
    ASSERT_TRUE(decoded) << kind(message);
    EXPECT_EQ(kind(*decoded), kind(message));
    EXPECT_EQ(encode(*decoded), bytes);
  }
}

TEST(WorkerProtocol, FieldsKeepTheirValues) {
  const auto lost = decode_to_supervisor(encode(ToSupervisor{ProxyLost{Trouble::Slow, 504, 110}}));
  ASSERT_TRUE(lost);
  EXPECT_EQ(std::get<ProxyLost>(*lost).trouble, Trouble::Slow);
  EXPECT_EQ(std::get<ProxyLost>(*lost).status, 504);
  EXPECT_EQ(std::get<ProxyLost>(*lost).sys_errno, 110);
  const ProxyAddresses sent{{{ip("192.0.2.1"), 3128}, {ip("2001:db8::1"), 8080}}};
  const auto got = decode_to_worker(encode(ToWorker{sent}));
  ASSERT_TRUE(got);
  EXPECT_EQ(std::get<ProxyAddresses>(*got).endpoints, sent.endpoints);
  const auto kill = decode_to_worker(encode(ToWorker{KillFlow{42}}));
  ASSERT_TRUE(kill);
  EXPECT_EQ(std::get<KillFlow>(*kill).id, 42u);
}

TEST(WorkerProtocol, EveryTruncationAndEveryExtensionIsRefused) {
  const auto check = [](const std::vector<std::uint8_t>& bytes, auto decode) {
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_FALSE(decode(std::span(bytes).first(length))) << "first " << length << " bytes";
    }
    for (const auto extra : std::initializer_list<std::uint8_t>{0, 1, 255}) {
      auto longer = bytes;
      longer.push_back(extra);
      EXPECT_FALSE(decode(longer)) << "one byte " << unsigned{extra} << " more";
    }
  };
  for (const auto& message : every_message_to_supervisor()) {
    check(encode(message), [](auto bytes) { return decode_to_supervisor(bytes).has_value(); });
  }
  for (const auto& message : every_message_to_worker()) {
    check(encode(message), [](auto bytes) { return decode_to_worker(bytes).has_value(); });
  }
}

TEST(WorkerProtocol, AMessageInTheWrongDirectionIsRefused) {
  for (const auto& message : every_message_to_supervisor()) {
    EXPECT_FALSE(decode_to_worker(encode(message)));
  }
  for (const auto& message : every_message_to_worker()) {
    EXPECT_FALSE(decode_to_supervisor(encode(message)));
  }
}

TEST(WorkerProtocol, ValuesOutOfRangeAreRefused) {
  struct Case {
    const char* why;
    std::vector<std::uint8_t> bytes;
    std::size_t at;
    std::uint8_t value;
  };
  const auto need = encode(ToSupervisor{NeedSockets{Family::V4, 1}});
  const auto lost = encode(ToSupervisor{ProxyLost{Trouble::Slow, 504, 110}});
  const Case cases[] = {
      {"family 5", need, 1, 5},
      {"no sockets", need, 2, 0},
      {"33 sockets", need, 2, 33},
      {"trouble 0", lost, 1, 0},
      {"trouble 7", lost, 1, 7},
      {"status 65xxx", lost, 3, 0xff},
      {"errno beyond 4095", lost, 5, 0xff},
      {"tag 0", need, 0, 0},
      {"tag 7", need, 0, 7},
      {"tag 255", need, 0, 255},
  };
  for (auto item : cases) {
    ASSERT_TRUE(decode_to_supervisor(item.bytes));
    item.bytes.at(item.at) = item.value;
    EXPECT_FALSE(decode_to_supervisor(item.bytes)) << item.why;
  }
  const auto sockets = encode(ToWorker{Sockets{Family::V4, 0}});
  const auto verbose = encode(ToWorker{SetVerbose{true}});
  const auto addresses = encode(ToWorker{ProxyAddresses{{{ip("192.0.2.1"), 1}}}});
  const auto options = encode(ToWorker{SetOptions{1, 0, log::Level::Error}});
  const auto credentials = encode(ToWorker{SetCredentials{true, "a", Secret("b")}});
  const Case worker_cases[] = {
      {"33 sockets", sockets, 2, 33},
      {"a bool of 2", verbose, 1, 2},
      {"no addresses", addresses, 1, 0},
      {"33 addresses", addresses, 1, 33},
      {"a time-out of 0", options, 1, 0},
      {"a level of 4", options, 9, 4},
      {"credentials, a bool of 2", credentials, 1, 2},
      {"a user name of 4097", credentials, 3, 0x10},
      {"family 0", addresses, 2, 0},
      {"port 0", addresses, 7, 0},
  };
  for (auto item : worker_cases) {
    ASSERT_TRUE(decode_to_worker(item.bytes));
    item.bytes.at(item.at) = item.value;
    EXPECT_FALSE(decode_to_worker(item.bytes)) << item.why;
  }
}

class Channel : public ::testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()), 0);
    a = UniqueFd(pair[0]);
    b = UniqueFd(pair[1]);
  }
  UniqueFd a;
  UniqueFd b;
};

TEST_F(Channel, CarriesAMessageAndItsDescriptors) {
  std::vector<UniqueFd> sent;
  std::vector<int> numbers;
  for (std::size_t i = 0; i < kMaxSocketsPerMessage; ++i) {
    sent.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    numbers.push_back(sent.back().get());
  }
  const auto bytes = encode(ToWorker{Sockets{Family::V4, kMaxSocketsPerMessage}});
  ASSERT_TRUE(send_message(a.get(), bytes, numbers));
  const auto received = receive_message(b.get());
  ASSERT_EQ(received.status, Received::Status::Message);
  EXPECT_EQ(received.bytes, bytes);
  ASSERT_EQ(received.descriptors.size(), kMaxSocketsPerMessage);
  for (const auto& fd : received.descriptors) {
    EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(::fcntl(fd.get(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  }
}

TEST_F(Channel, KeepsMessagesApart) {
  ASSERT_TRUE(send_message(a.get(), encode(ToWorker{Stop{}})));
  ASSERT_TRUE(send_message(a.get(), encode(ToWorker{DumpFlows{}})));
  EXPECT_EQ(receive_message(b.get()).bytes, encode(ToWorker{Stop{}}));
  EXPECT_EQ(receive_message(b.get()).bytes, encode(ToWorker{DumpFlows{}}));
  EXPECT_EQ(receive_message(b.get()).status, Received::Status::Nothing);
}

TEST_F(Channel, SaysThatThePeerIsGone) {
  b.reset();
  EXPECT_EQ(receive_message(a.get()).status, Received::Status::Closed);
  EXPECT_FALSE(send_message(a.get(), encode(ToWorker{Stop{}})));
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(Channel, NeverBlocksWhenThePeerDoesNotRead) {
  const auto bytes = encode(ToWorker{Stop{}});
  int sent = 0;
  while (send_message(a.get(), bytes) && sent < 1'000'000) ++sent;
  EXPECT_GT(sent, 0);
  EXPECT_LT(sent, 1'000'000);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(Channel, RefusesToSendWhatThePeerWouldRefuse) {
  EXPECT_FALSE(send_message(a.get(), {}));
  EXPECT_EQ(errno, EMSGSIZE);
  EXPECT_FALSE(send_message(a.get(), std::vector<std::uint8_t>(kMaxWorkerMessage + 1)));
  EXPECT_EQ(errno, EMSGSIZE);
  EXPECT_EQ(receive_message(b.get()).status, Received::Status::Nothing);
}

TEST_F(Channel, ATooLongMessageFromThePeerDecodesToNothing) {
  std::vector<std::uint8_t> huge(kMaxWorkerMessage + 1, 67);
  ASSERT_EQ(::send(a.get(), huge.data(), huge.size(), 0), static_cast<ssize_t>(huge.size()));
  const auto received = receive_message(b.get());
  EXPECT_EQ(received.status, Received::Status::Message);
  EXPECT_TRUE(received.bytes.empty());
  EXPECT_FALSE(decode_to_worker(received.bytes));
}

TEST_F(Channel, AFullTableOfDescriptorsLosesDescriptorsAndKeepsTheMessage) {
  const auto bytes = encode(ToWorker{Sockets{Family::V4, 4}});
  const std::array<int, 4> numbers{a.get(), a.get(), a.get(), a.get()};
  ASSERT_TRUE(send_message(a.get(), bytes, numbers));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const UniqueFd probe(::dup(b.get()));  // the lowest free number, so two more fit below probe + 2
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(probe.get()) + 2;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const auto received = receive_message(b.get());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(received.status, Received::Status::Message);
  EXPECT_EQ(received.bytes, bytes);
  EXPECT_LT(received.descriptors.size(), numbers.size());
}

}  // namespace
}  // namespace proxyvpn::app
