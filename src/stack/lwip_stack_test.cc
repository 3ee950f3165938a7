#include "stack/lwip_stack.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>

#include "testing/tcp_peer.h"

namespace proxyvpn::stack {
namespace {

using testing::FakePacketIo;
using testing::Segment;
using testing::TcpPeer;
using Bytes = std::vector<std::uint8_t>;

constexpr tun::Offloads kAll{true, true, true};
constexpr tun::Offloads kNone{false, false, false};

Bytes pattern(std::size_t n) {
  Bytes out(n);
  std::iota(out.begin(), out.end(), std::uint8_t{0});
  return out;
}

FlowKey key(const char* source, const char* destination) {
  return {*parse_endpoint(source), *parse_endpoint(destination)};
}

struct Recorder final : FlowHandler {
  void on_established() noexcept override { log += 'E'; }
  void on_readable() noexcept override {
    log += 'r';
    if (!greedy) return;
    std::array<iovec, 16> pieces;
    while (const std::size_t n = flow->readable(pieces)) {
      std::size_t total = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const auto* from = static_cast<const std::uint8_t*>(pieces[i].iov_base);
        got.insert(got.end(), from, from + pieces[i].iov_len);
        total += pieces[i].iov_len;
      }
      flow->consume(total);
    }
    if (flow->read_eof()) log += 'F';
  }
  void on_writable() noexcept override { log += 'w'; }
  void on_reset() noexcept override {
    log += 'R';
    flow = nullptr;
  }
  void on_closed() noexcept override {
    log += 'C';
    flow = nullptr;
  }
  TcpFlow* flow = nullptr;
  std::string log;
  Bytes got;
  bool greedy = true;
};

struct Acceptor final : FlowAcceptor {
  void on_syn(TcpFlow& flow) noexcept override {
    keys.push_back(flow.key());
    if (drop) return;
    handlers.push_back(std::make_unique<Recorder>());
    handlers.back()->flow = &flow;
    flow.set_handler(handlers.back().get());
    if (accept) flow.accept();
  }
  std::vector<FlowKey> keys;
  std::vector<std::unique_ptr<Recorder>> handlers;
  bool accept = true;
  bool drop = false;
};

class LwipStackTest : public ::testing::TestWithParam<tun::Offloads> {
 protected:
  LwipStackTest() : LwipStackTest(kAll) {}
  explicit LwipStackTest(tun::Offloads offloads, StackLimits limits = {})
      : io(offloads), stack(io, acceptor, timers, limits) {}

  void run() {
    while (stack.drain()) {
    }
  }
  void pass(Duration time) {
    for (Duration left = time; left > Duration::zero(); left -= milliseconds(10)) {
      timers.set_now(timers.now() + milliseconds(10));
      timers.fire(timers.now());
    }
    stack.flush();
  }
  Recorder& last() { return *acceptor.handlers.back(); }
  // Through the handshake; the stack's SYN-ACK is checked on the way.
  void open(TcpPeer& peer) {
    peer.syn();
    run();
    const auto answer = peer.take();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->flags, tun::kSyn | tun::kAck);
    EXPECT_EQ(answer->acknowledgement, peer.next);
    EXPECT_TRUE(answer->checksum_right);
    peer.ack();
    run();
    EXPECT_EQ(last().log, "E");
  }

  FakePacketIo io;
  Acceptor acceptor;
  event::TimerQueue timers;
  LwipStack stack;
};

class WithoutOffload : public LwipStackTest {
 protected:
  WithoutOffload() : LwipStackTest(kNone) {}
};

class SmallBudget : public LwipStackTest {
 protected:
  SmallBudget() : LwipStackTest(kAll, {.memory_budget = 0}) {}
};

const FlowKey kV4 = key("10.0.0.5:40000", "192.0.2.7:443");
const FlowKey kV6 = key("[fd00::5]:40000", "[2001:db8::7]:8443");

TEST_F(LwipStackTest, HoldsTheSynUntilSomebodyDecides) {
  acceptor.accept = false;
  TcpPeer peer(io, kV4);
  peer.syn();
  run();
  ASSERT_EQ(acceptor.keys.size(), 1U);
  EXPECT_EQ(acceptor.keys[0], kV4);
  EXPECT_FALSE(peer.take());
  peer.repeat_syn();
  peer.repeat_syn();
  run();
  EXPECT_EQ(acceptor.keys.size(), 1U) << "a repeated SYN started a second connection";
  EXPECT_FALSE(peer.take());
  last().flow->accept();
  const auto answer = peer.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->flags, tun::kSyn | tun::kAck);
  EXPECT_EQ(answer->source, kV4.destination);
  EXPECT_EQ(answer->acknowledgement, peer.next);
}

TEST_F(LwipStackTest, ASynThatNobodyTakesIsDroppedAndMayComeAgain) {
  acceptor.drop = true;
  TcpPeer peer(io, kV4);
  peer.syn();
  run();
  EXPECT_EQ(stack.flows(), 0U);
  acceptor.drop = false;
  peer.repeat_syn();
  run();
  EXPECT_EQ(acceptor.keys.size(), 2U);
  EXPECT_TRUE(peer.take());
}

TEST_F(LwipStackTest, ANewAttemptFromTheSamePortReplacesTheHeldOne) {
  acceptor.accept = false;
  TcpPeer first(io, kV4, 1000);
  first.syn();
  run();
  TcpPeer second(io, kV4, 999999);
  second.syn();
  run();
  ASSERT_EQ(acceptor.handlers.size(), 2U);
  EXPECT_EQ(acceptor.handlers[0]->log, "R");
  acceptor.handlers[1]->flow->accept();
  const auto answer = second.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->acknowledgement, second.next);
}

struct RefusalCase {
  Refusal how;
  std::uint8_t v4_type, v4_code, v6_type, v6_code;
};

TEST_F(LwipStackTest, RefusalsAnswerTheHeldSynWithIcmp) {
  acceptor.accept = false;
  for (const auto& c : {RefusalCase{Refusal::HostUnreachable, 3, 1, 1, 3},
                        RefusalCase{Refusal::NetworkUnreachable, 3, 0, 1, 0},
                        RefusalCase{Refusal::Prohibited, 3, 13, 1, 3}}) {
    for (const auto& k : {kV4, kV6}) {
      TcpPeer peer(io, k);
      peer.syn();
      run();
      last().flow->refuse(c.how);
      stack.flush();
      ASSERT_EQ(io.outgoing.size(), 1U);
      const Bytes frame = io.outgoing.front();
      io.outgoing.pop_front();
      const bool v4 = k.source.address.is_v4();
      const Bytes packet(frame.begin() + tun::kVnetHeader, frame.end());
      const std::size_t ip = v4 ? 20 : 40;
      EXPECT_EQ(packet[v4 ? 9 : 6], v4 ? 1 : 58);
      EXPECT_EQ(packet[ip], v4 ? c.v4_type : c.v6_type);
      EXPECT_EQ(packet[ip + 1], v4 ? c.v4_code : c.v6_code);
      std::uint64_t sum = 0;
      if (!v4)
        sum = tun::pseudo_header_sum(Family::V6, &packet[8], &packet[24],
                                     static_cast<std::uint32_t>(packet.size() - ip), 58);
      EXPECT_EQ(
          tun::checksum_fold(tun::checksum_add(sum, {packet.data() + ip, packet.size() - ip})),
          0xffff);
      if (v4) {
        EXPECT_EQ(tun::checksum_fold(tun::checksum_add(0, {packet.data(), 20})), 0xffff);
      }
      // The offending packet, so that the kernel finds the socket.
      EXPECT_EQ(packet[ip + 8] >> 4, v4 ? 4 : 6);
      EXPECT_EQ(stack.flows(), 0U);
    }
  }
}

TEST_F(LwipStackTest, RefusedIsAnRstThatAcknowledgesTheSyn) {
  acceptor.accept = false;
  for (const auto& k : {kV4, kV6}) {
    TcpPeer peer(io, k);
    peer.syn();
    run();
    last().flow->refuse(Refusal::Refused);
    const auto answer = peer.take();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->flags, tun::kRst | tun::kAck);
    EXPECT_EQ(answer->acknowledgement, peer.next);
    EXPECT_TRUE(answer->checksum_right);
  }
}

TEST_F(LwipStackTest, SilenceIsSilent) {
  acceptor.accept = false;
  TcpPeer peer(io, kV4);
  peer.syn();
  run();
  last().flow->refuse(Refusal::Silent);
  EXPECT_TRUE(io.outgoing.empty());
  EXPECT_EQ(stack.flows(), 0U);
}

TEST_F(LwipStackTest, CarriesBytesFromTheApplication) {
  for (const auto& k : {kV4, kV6}) {
    TcpPeer peer(io, k);
    open(peer);
    const Bytes bytes = pattern(50000);
    peer.data(bytes);
    peer.data({1, 2, 3});
    run();
    Bytes want = bytes;
    want.insert(want.end(), {1, 2, 3});
    EXPECT_EQ(last().got, want);
    auto s = peer.take();
    ASSERT_TRUE(s);
    while (const auto more = peer.take()) s = more;
    EXPECT_EQ(s->acknowledgement, peer.next - 3 + (s->acknowledgement == peer.next ? 3 : 0));
    last().flow->abort();
    io.outgoing.clear();
  }
}

TEST_F(LwipStackTest, BulkMemoryHoldsWholeFrames) {
  TcpPeer peer(io, kV4);
  open(peer);
  peer.window = 60000;  // scaled by 7
  peer.ack();
  run();
  while (peer.take()) {
  }
  const auto room = last().flow->send_buffer(128 * 1024);
  EXPECT_GT(room.size(), 100'000U);
  std::fill(room.begin(), room.end(), std::uint8_t{1});
  last().flow->commit(room.size());
  std::size_t got = 0;
  int frames = 0;
  while (const auto s = peer.take()) {
    ++frames;
    got += s->payload.size();
    EXPECT_EQ(s->payload.size() % 1460, 0U);
  }
  EXPECT_EQ(got, room.size());
  EXPECT_EQ(frames, 2) << "a crumb behind the large frames";
  last().flow->abort();
}

TEST_F(LwipStackTest, CarriesBytesToTheApplicationInLargeFrames) {
  TcpPeer peer(io, kV4);
  open(peer);
  peer.window = 60000;  // scaled by 7
  peer.ack();
  run();
  const Bytes bytes = pattern(200000);
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const auto room = last().flow->send_buffer(bytes.size() - sent);
    ASSERT_FALSE(room.empty());
    std::copy_n(bytes.data() + sent, room.size(), room.data());
    last().flow->commit(room.size());
    sent += room.size();
  }
  Bytes got;
  std::size_t largest = 0;
  for (int round = 0; round < 50 && got.size() < bytes.size(); ++round) {
    while (const auto s = peer.take()) {
      EXPECT_TRUE(s->checksum_right);
      if (s->payload.size() > 1460) {
        EXPECT_EQ(s->gso_size, 1460);
      }
      largest = std::max(largest, s->payload.size());
      got.insert(got.end(), s->payload.begin(), s->payload.end());
    }
    peer.ack();
    run();
  }
  EXPECT_EQ(got, bytes);
  EXPECT_EQ(largest % 1460, 0U);
  EXPECT_GT(largest, 60000U);
  EXPECT_EQ(stack.buffered_bytes(), 0U) << "an idle flow keeps memory";
}

TEST_F(WithoutOffload, CutsAndSumsByItself) {
  TcpPeer peer(io, kV6);
  open(peer);
  const Bytes bytes = pattern(10001);  // odd pieces on the way
  std::size_t sent = 0;
  for (const std::size_t piece : {1U, 777U, 3333U, 5890U}) {
    const auto room = last().flow->send_buffer(piece);
    ASSERT_GE(room.size(), piece);
    std::copy_n(bytes.data() + sent, piece, room.data());
    last().flow->commit(piece);
    sent += piece;
  }
  Bytes got;
  for (int round = 0; round < 50 && got.size() < bytes.size(); ++round) {
    while (const auto s = peer.take()) {
      EXPECT_TRUE(s->checksum_right);
      EXPECT_LE(s->payload.size(), 1460U);
      got.insert(got.end(), s->payload.begin(), s->payload.end());
    }
    peer.ack();
    run();
    pass(milliseconds(10));
  }
  EXPECT_EQ(got, bytes);
}

TEST_F(WithoutOffload, DropsWhatHasAWrongChecksum) {
  TcpPeer peer(io, kV4);
  open(peer);
  peer.data(pattern(100));
  io.incoming.back()[60] ^= 1;
  run();
  EXPECT_TRUE(last().got.empty());
  EXPECT_EQ(stack.counters().packets_bad, 1U);
}

TEST_F(LwipStackTest, ChecksWhatTheKernelHasNotChecked) {
  TcpPeer peer(io, kV4);
  open(peer);
  const auto next = peer.next;
  peer.send(tun::kAck, {}, pattern(100), tun::VnetHeader{});  // forwarded: no flag, right checksum
  run();
  EXPECT_EQ(last().got.size(), 100U);
  peer.next = next + 100;
  peer.send(tun::kAck, {}, pattern(100), tun::VnetHeader{});
  io.incoming.back()[80] ^= 1;
  run();
  EXPECT_EQ(last().got.size(), 100U);
}

TEST_F(LwipStackTest, HalfCloseByTheApplicationLeavesTheOtherDirectionOpen) {
  TcpPeer peer(io, kV4);
  open(peer);
  peer.data({'h', 'i'});
  peer.fin();
  run();
  EXPECT_NE(last().log.find('F'), std::string::npos);
  pass(seconds(300));  // no time limit
  ASSERT_NE(last().flow, nullptr);
  const auto room = last().flow->send_buffer(4);
  ASSERT_GE(room.size(), 4U);
  std::memcpy(room.data(), "late", 4);
  last().flow->commit(4);
  last().flow->finish();
  Bytes got;
  bool fin = false;
  while (const auto s = peer.take()) {
    got.insert(got.end(), s->payload.begin(), s->payload.end());
    fin = fin || (s->flags & tun::kFin) != 0;
  }
  EXPECT_EQ(got, (Bytes{'l', 'a', 't', 'e'}));
  EXPECT_TRUE(fin);
  peer.ack();
  run();
  EXPECT_EQ(last().log.back(), 'C');
  EXPECT_EQ(stack.flows(), 0U);
}

TEST_F(LwipStackTest, FinishingFirstEndsInTimeWaitWhichANewSynRecycles) {
  TcpPeer peer(io, kV4);
  open(peer);
  last().flow->finish();
  while (peer.take()) {
  }
  peer.ack();
  peer.fin();
  run();
  EXPECT_EQ(last().log.back(), 'C');
  EXPECT_EQ(stack.time_waits(), 1U);
  EXPECT_EQ(stack.flows(), 0U);
  TcpPeer again(io, kV4, 77777);
  again.syn();
  run();
  EXPECT_EQ(stack.time_waits(), 0U);
  io.outgoing.erase(io.outgoing.begin(), io.outgoing.end() - 1);
  const auto answer = again.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->flags, tun::kSyn | tun::kAck);
  EXPECT_EQ(answer->acknowledgement, again.next);
}

TEST_F(LwipStackTest, AbortInTimeWaitLeavesNothing) {
  TcpPeer peer(io, kV4);
  open(peer);
  last().greedy = false;
  peer.data({1, 2, 3});
  last().flow->finish();
  run();
  while (peer.take()) {
  }
  peer.ack();
  peer.fin();
  run();
  ASSERT_EQ(stack.time_waits(), 1U);
  last().flow->abort();  // its reader is still there, and gives up
  EXPECT_EQ(stack.time_waits(), 0U);
  EXPECT_EQ(stack.flows(), 0U);
  pass(seconds(2));
}

TEST_F(LwipStackTest, TimeWaitEndsByItself) {
  TcpPeer peer(io, kV4);
  open(peer);
  last().flow->finish();
  while (peer.take()) {
  }
  peer.ack();
  peer.fin();
  run();
  EXPECT_EQ(stack.time_waits(), 1U);
  pass(seconds(2));
  EXPECT_EQ(stack.time_waits(), 0U);
  EXPECT_EQ(timers.size(), 0U) << "an idle stack keeps a timer";
}

TEST_F(LwipStackTest, ClosedWaitsUntilEverythingIsTaken) {
  TcpPeer peer(io, kV4);
  open(peer);
  last().greedy = false;
  peer.data(pattern(5000));
  peer.fin();
  run();
  last().flow->finish();
  while (peer.take()) {
  }
  peer.ack();
  run();
  pass(seconds(3));
  EXPECT_EQ(last().log.find('C'), std::string::npos);
  ASSERT_NE(last().flow, nullptr);
  EXPECT_EQ(last().flow->readable_bytes(), 5000U);
  last().flow->consume(4999);
  EXPECT_FALSE(last().flow->read_eof());
  last().flow->consume(1);
  stack.flush();
  EXPECT_EQ(last().log.back(), 'C');
}

TEST_F(LwipStackTest, ResetsPassInBothDirections) {
  TcpPeer peer(io, kV4);
  open(peer);
  peer.reset();
  run();
  EXPECT_EQ(last().log, "ER");
  TcpPeer other(io, kV6);
  open(other);
  last().flow->abort();
  const auto s = other.take();
  ASSERT_TRUE(s);
  EXPECT_NE(s->flags & tun::kRst, 0);
  EXPECT_EQ(stack.flows(), 0U);
}

TEST_F(LwipStackTest, AResetOutsideTheExactPlaceIsIgnored) {
  TcpPeer peer(io, kV4);
  open(peer);
  peer.next += 100;
  peer.reset();
  run();
  EXPECT_EQ(last().log, "E");
}

TEST_F(LwipStackTest, SegmentsOfNobodyGetAReset) {
  for (const auto& k : {kV4, kV6}) {
    TcpPeer peer(io, k);
    peer.expected = 4711;
    peer.data({1, 2, 3});
    run();
    const auto s = peer.take();
    ASSERT_TRUE(s);
    EXPECT_EQ(s->flags, tun::kRst);
    EXPECT_EQ(s->sequence, 4711U);
    EXPECT_TRUE(s->checksum_right);
    peer.reset();
    run();
    EXPECT_FALSE(peer.take());
  }
}

TEST_F(LwipStackTest, ReorderedSegmentsAcrossTheSequenceWrapArriveInOrder) {
  TcpPeer peer(io, kV4, 0xffffff00U);
  open(peer);
  const Bytes bytes = pattern(1000);
  const std::uint32_t start = peer.next;
  for (const std::size_t at : {600U, 200U, 400U, 800U, 0U}) {
    peer.next = start + static_cast<std::uint32_t>(at);
    peer.data(
        Bytes(bytes.begin() + static_cast<long>(at), bytes.begin() + static_cast<long>(at) + 200));
  }
  run();
  EXPECT_EQ(last().got, bytes);
}

TEST_F(SmallBudget, AFullQueueClosesTheWindowAndConsumingOpensIt) {
  TcpPeer peer(io, kV4);
  open(peer);
  last().greedy = false;
  std::uint32_t window = 65535;
  std::size_t sent = 0;
  while (window >= 1460) {
    peer.data(pattern(1460));
    sent += 1460;
    run();
    pass(milliseconds(60));
    while (const auto s = peer.take()) window = s->window * 64U;
    ASSERT_LE(sent, 70000U) << "the window does not close";
  }
  EXPECT_EQ(last().flow->readable_bytes(), sent);
  peer.data(pattern(1460 + 64));  // beyond the window: dropped, and answered
  run();
  EXPECT_GE(stack.counters().segments_outside, 1U);
  peer.next -= 1460 + 64;
  while (peer.take()) {
  }
  last().flow->consume(sent);
  stack.flush();
  std::optional<Segment> update;
  while (const auto s = peer.take()) update = s;
  ASSERT_TRUE(update) << "no window update";
  EXPECT_GE(update->window * 64U, 60000U);
}

TEST_F(LwipStackTest, AWindowGrowsWithUse) {
  TcpPeer peer(io, kV4);
  open(peer);
  std::uint32_t window = 0;
  for (int i = 0; i < 600; ++i) {
    peer.data(pattern(14600));
    run();
    while (const auto s = peer.take()) window = s->window * 64U;
  }
  EXPECT_GT(window, 400U << 10);
  EXPECT_LE(window, 512U << 10);
}

TEST_F(LwipStackTest, FlowsThatUploadAtOnceShareTheirWindows) {
  std::vector<std::unique_ptr<TcpPeer>> peers;
  std::vector<std::uint32_t> windows(16, 0);
  for (std::uint16_t i = 0; i < 16; ++i) {
    auto key = kV4;
    key.source.port = static_cast<std::uint16_t>(key.source.port + i);
    peers.push_back(std::make_unique<TcpPeer>(io, key));
    open(*peers.back());
  }
  const auto upload = [&](std::size_t flows, int turns) {
    for (int turn = 0; turn < turns; ++turn) {
      for (std::size_t i = 0; i < flows; ++i) {
        peers[i]->data(pattern(14600));
        run();
        while (const auto s = peers[i]->take()) windows[i] = s->window * 64U;
      }
      pass(milliseconds(10));
    }
  };
  upload(1, 300);
  EXPECT_GT(windows[0], 400U << 10) << "alone";
  upload(16, 300);
  for (std::size_t i = 0; i < 16; ++i) {
    EXPECT_LE(windows[i], 65535U) << i;
    EXPECT_GE(windows[i], 30000U) << i << ": none starves";
  }
  upload(1, 300);
  EXPECT_GT(windows[0], 400U << 10) << "alone again";
}

TEST_F(LwipStackTest, ABatchGetsOneAcknowledgementWithTheWindowAfterIt) {
  TcpPeer peer(io, kV4);
  open(peer);
  for (int i = 0; i < 12; ++i) peer.data(Bytes(1460));
  run();
  EXPECT_EQ(last().got.size(), 12U * 1460);
  const auto answer = peer.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->acknowledgement, peer.next);
  EXPECT_EQ(answer->window, 65535 >> 6) << "the bytes are taken, the window is whole";
  EXPECT_FALSE(peer.take());
  EXPECT_EQ(stack.busy_flows(), 0U);
}

TEST_F(LwipStackTest, WhatWaitsForTheProxyIsAcknowledgedAllTheSame) {
  TcpPeer peer(io, kV4);
  open(peer);
  last().greedy = false;
  peer.data(Bytes(20000));  // one frame, many segments
  run();
  const auto answer = peer.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->acknowledgement, peer.next);
  EXPECT_LE(answer->window, (65535U - 20000) >> 6);
  EXPECT_FALSE(peer.take());
}

TEST_F(LwipStackTest, DataOfTheSameTurnCarriesTheAcknowledgement) {
  struct Echo final : FlowHandler {
    void on_established() noexcept override {}
    void on_readable() noexcept override {
      flow->consume(flow->readable_bytes());
      const auto room = flow->send_buffer(5);
      std::fill(room.begin(), room.end(), std::uint8_t{1});
      flow->commit(room.size());
    }
    void on_writable() noexcept override {}
    void on_reset() noexcept override { flow = nullptr; }
    void on_closed() noexcept override { flow = nullptr; }
    TcpFlow* flow = nullptr;
  } echo;
  TcpPeer peer(io, kV4);
  open(peer);
  echo.flow = last().flow;
  echo.flow->set_handler(&echo);
  for (int i = 0; i < 4; ++i) peer.data(Bytes(1460));
  run();
  const auto answer = peer.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->payload.size(), 5U);
  EXPECT_EQ(answer->acknowledgement, peer.next);
  EXPECT_FALSE(peer.take());
  echo.flow->abort();
}

TEST_F(LwipStackTest, ASmallMessageWaitsForItsAnswerAndASecondOneForNothing) {
  TcpPeer peer(io, kV4);
  open(peer);
  peer.data(Bytes(10));
  run();
  EXPECT_FALSE(peer.take()) << "the answer will carry it";
  peer.data(Bytes(10));
  run();
  auto answer = peer.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->acknowledgement, peer.next);
  peer.data(Bytes(10));
  run();
  EXPECT_FALSE(peer.take());
  pass(milliseconds(60));
  answer = peer.take();
  ASSERT_TRUE(answer) << "no answer came: the timer's turn";
  EXPECT_EQ(answer->acknowledgement, peer.next);
  EXPECT_FALSE(peer.take());
}

TEST_F(LwipStackTest, AFinInABatchIsAcknowledgedWithIt) {
  TcpPeer peer(io, kV4);
  open(peer);
  for (int i = 0; i < 3; ++i) peer.data(Bytes(1460));
  peer.fin();
  run();
  EXPECT_EQ(last().log.back(), 'F');
  std::optional<Segment> answer;
  int count = 0;
  while (auto next = peer.take()) {
    answer = next;
    ++count;
  }
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->acknowledgement, peer.next);
  EXPECT_EQ(count, 1);
}

TEST_F(LwipStackTest, AGapIsToldAtOnceForEverySegment) {
  TcpPeer peer(io, kV4);
  open(peer);
  const std::uint32_t missing = peer.next;
  peer.next += 1460;
  for (int i = 0; i < 3; ++i) peer.data(Bytes(1460));
  run();
  for (int i = 0; i < 3; ++i) {
    const auto answer = peer.take();
    ASSERT_TRUE(answer) << "three repeated acknowledgements start the fast retransmission";
    EXPECT_EQ(answer->acknowledgement, missing);
  }
}

TEST_F(LwipStackTest, AResetBehindDataInABatchLeavesNothingToAcknowledge) {
  TcpPeer peer(io, kV4);
  open(peer);
  for (int i = 0; i < 3; ++i) peer.data(Bytes(1460));
  peer.reset();
  run();
  EXPECT_EQ(last().log.back(), 'R');
  EXPECT_FALSE(peer.take());
  EXPECT_EQ(stack.flows(), 0U);
}

TEST_F(LwipStackTest, LostSegmentsAreSentAgain) {
  TcpPeer peer(io, kV4);
  open(peer);
  const auto room = last().flow->send_buffer(5);
  std::memcpy(room.data(), "hello", 5);
  last().flow->commit(5);
  io.outgoing.clear();  // lost
  pass(seconds(5));
  const auto s = peer.take();
  ASSERT_TRUE(s);
  EXPECT_EQ(s->payload, (Bytes{'h', 'e', 'l', 'l', 'o'}));
}

TEST_F(LwipStackTest, AZeroWindowIsProbedAndRecovers) {
  TcpPeer peer(io, kV4);
  peer.window = 0;
  open(peer);
  const auto room = last().flow->send_buffer(1000);
  ASSERT_FALSE(room.empty());
  std::memset(room.data(), 'z', room.size());
  last().flow->commit(room.size());
  pass(seconds(10));
  bool probed = false;
  const auto expected = peer.expected;
  while (const auto s = peer.take()) probed = true;
  EXPECT_TRUE(probed);
  peer.expected = expected;
  peer.window = 500;
  peer.ack();
  run();
  pass(seconds(5));
  std::size_t got = 0;
  while (const auto s = peer.take()) got += s->payload.size();
  EXPECT_GE(got, 1000U);
}

TEST_F(LwipStackTest, AWindowThatGrowsFromNothingDoesNotShrinkTheSegmentSize) {
  TcpPeer peer(io, kV4);
  peer.window = 0;
  open(peer);
  const auto room = last().flow->send_buffer(3000);
  ASSERT_EQ(room.size(), 3000U);
  std::memset(room.data(), 'z', room.size());
  last().flow->commit(1500);
  peer.window = 2;  // scaled: 256
  peer.data({'x'});
  run();
  last().flow->send_buffer(1500);
  last().flow->commit(1500);
  peer.window = 60000;
  peer.data({'x'});
  run();
  pass(seconds(3));
  std::size_t got = 0;
  while (const auto s = peer.take()) got += s->payload.size();
  EXPECT_GE(got, 3000U);
}

TEST_F(LwipStackTest, TenThousandIdleFlowsCostNoTimerAndNoBuffer) {
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (unsigned i = 0; i < 10000; ++i) {
    FlowKey k = i % 2 == 0 ? kV4 : kV6;
    k.source.port = static_cast<std::uint16_t>(1024 + i);
    k.destination.port = static_cast<std::uint16_t>(1 + i % 60000);
    peers.push_back(std::make_unique<TcpPeer>(io, k));
    peers.back()->syn();
    run();
    ASSERT_TRUE(peers.back()->take());
    peers.back()->ack();
    run();
  }
  EXPECT_EQ(stack.flows(), 10000U);
  EXPECT_EQ(stack.busy_flows(), 0U);
  EXPECT_EQ(stack.buffered_bytes(), 0U);
  pass(milliseconds(200));
  EXPECT_EQ(timers.size(), 0U);
  // Each still reaches its own handler.
  for (std::size_t i = 0; i < peers.size(); i += 97) {
    peers[i]->data({static_cast<std::uint8_t>(i)});
    run();
    EXPECT_EQ(acceptor.handlers[i]->got, Bytes{static_cast<std::uint8_t>(i)});
  }
  for (auto& peer : peers) peer->reset();
  run();
  EXPECT_EQ(stack.flows(), 0U);
}

TEST_F(LwipStackTest, AbortAllResetsEverybody) {
  TcpPeer a(io, kV4);
  open(a);
  acceptor.accept = false;
  TcpPeer b(io, kV6);
  b.syn();
  run();
  io.outgoing.clear();
  stack.abort_all();
  EXPECT_EQ(stack.flows(), 0U);
  unsigned resets = 0;
  for (const auto& frame : io.outgoing) {
    const auto s = testing::read_frame(frame, io.offloads());
    if (s && (s->flags & tun::kRst) != 0) ++resets;
  }
  EXPECT_EQ(resets, 2U);
}

}  // namespace
}  // namespace proxyvpn::stack
