// A packet's way through the stack, lwIP included, with packets that are made beforehand: from the
// PacketIo to the flow's handler, and connections that come and go.
#include <benchmark/benchmark.h>

#include <memory>
#include <random>

#include "stack/lwip_stack.h"
#include "testing/tcp_peer.h"

namespace proxyvpn::stack {
namespace {

using testing::FakePacketIo;

constexpr tun::Offloads kAll{true, true, true};
constexpr std::size_t kPayload = 1400;

struct Consumer final : FlowHandler {
  void on_established() noexcept override {}
  void on_readable() noexcept override {
    std::array<iovec, 16> pieces;
    while (flow->readable(pieces) > 0) {
      bytes += flow->readable_bytes();
      flow->consume(flow->readable_bytes());
    }
  }
  void on_writable() noexcept override {}
  void on_reset() noexcept override { flow = nullptr; }
  void on_closed() noexcept override { flow = nullptr; }
  TcpFlow* flow = nullptr;
  std::uint64_t bytes = 0;
};

struct Acceptor final : FlowAcceptor {
  void on_syn(TcpFlow& flow) noexcept override {
    consumers.push_back(std::make_unique<Consumer>());
    consumers.back()->flow = &flow;
    flow.set_handler(consumers.back().get());
    flow.accept();
  }
  std::vector<std::unique_ptr<Consumer>> consumers;
};

FlowKey flow_key(std::size_t i) {
  const std::array<std::uint8_t, 4> to = {198, 51, static_cast<std::uint8_t>(i >> 15),
                                          static_cast<std::uint8_t>(i >> 7)};
  return {{parse_endpoint("10.0.0.5:1")->address, static_cast<std::uint16_t>(1024 + i % 50000)},
          {IpAddress::v4(std::span<const std::uint8_t, 4>(to)), 443}};
}

struct World {
  World() : stack(io, acceptor, timers, {}) {}
  void run() {
    while (stack.drain()) {
    }
  }
  void open(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      peers.push_back(std::make_unique<testing::TcpPeer>(io, flow_key(i)));
      peers.back()->syn();
      run();
      static_cast<void>(peers.back()->take());
      peers.back()->ack();
      run();
    }
  }
  [[nodiscard]] std::uint64_t bytes() const {
    std::uint64_t total = 0;
    for (const auto& consumer : acceptor.consumers) total += consumer->bytes;
    return total;
  }
  FakePacketIo io{kAll};
  Acceptor acceptor;
  event::TimerQueue timers;
  LwipStack stack;
  std::vector<std::unique_ptr<testing::TcpPeer>> peers;
};

// 256 segments of 1400 bytes, on flows picked at random; per packet.
void deliver_packet(benchmark::State& state) {
  constexpr std::size_t kBatch = 256;
  World world;
  world.open(static_cast<std::size_t>(state.range(0)));
  if (world.stack.flows() != world.peers.size()) {
    state.SkipWithError("not every flow opened");
    return;
  }
  const std::vector<std::uint8_t> payload(kPayload, 'x');
  std::mt19937 random(1);
  std::uint64_t sent = 0;
  for (auto _ : state) {
    state.PauseTiming();
    world.io.outgoing.clear();
    for (std::size_t i = 0; i < kBatch; ++i)
      world.peers[random() % world.peers.size()]->data(payload);
    sent += kBatch * kPayload;
    state.ResumeTiming();
    world.run();
  }
  if (world.bytes() != sent) state.SkipWithError("not every byte was delivered");
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}
BENCHMARK(deliver_packet)->ArgName("flows")->Arg(1)->Arg(100)->Arg(1000)->Arg(10000)->Arg(50000);

// SYN, handshake, RST beside `flows` idle ones.
void open_and_reset(benchmark::State& state) {
  World world;
  world.open(static_cast<std::size_t>(state.range(0)));
  const std::size_t idle = world.stack.flows();
  std::size_t next = idle;
  for (auto _ : state) {
    testing::TcpPeer peer(world.io, flow_key(next));
    next = next + 1 == idle + 1000 ? idle : next + 1;
    peer.syn();
    world.run();
    static_cast<void>(peer.take());
    peer.ack();
    peer.reset();
    world.run();
    world.acceptor.consumers.pop_back();
  }
  if (world.stack.flows() != idle) state.SkipWithError("flows were left over");
}
BENCHMARK(open_and_reset)->ArgName("flows")->Arg(0)->Arg(1000)->Arg(10000)->Arg(40000);

}  // namespace
}  // namespace proxyvpn::stack
