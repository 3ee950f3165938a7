// The table in front of lwIP: the cost of a look-up must not grow with the flows but by the caches.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <random>

#include "stack/flow_table.h"
#include "stack/lwip_stack.h"
#include "testing/fake_packet_io.h"

namespace proxyvpn::stack {
namespace {

struct NoAcceptor final : FlowAcceptor {
  void on_syn(TcpFlow&) noexcept override {}
};

FlowKey table_key(std::size_t i) {
  const std::array<std::uint8_t, 4> to = {203, 0, static_cast<std::uint8_t>(i >> 14),
                                          static_cast<std::uint8_t>(i >> 6)};
  return {{parse_endpoint("10.0.0.5:1")->address, static_cast<std::uint16_t>(1024 + i)},
          {IpAddress::v4(std::span<const std::uint8_t, 4>(to)), 443}};
}

// `count` flows in random order of look-up; a flow without a stack of its own never touches one.
struct Flows {
  explicit Flows(std::size_t count) : stack(io, acceptor, timers, {}) {
    for (std::size_t i = 0; i < count; ++i) {
      all.push_back(std::make_unique<LwipFlow>(stack, table_key(i)));
      keys.push_back(table_key(i));
    }
    std::shuffle(keys.begin(), keys.end(), std::mt19937(1));
  }
  testing::FakePacketIo io{tun::Offloads{true, true, true}};
  NoAcceptor acceptor;
  event::TimerQueue timers;
  LwipStack stack;
  std::vector<std::unique_ptr<LwipFlow>> all;
  std::vector<FlowKey> keys;
};

void flow_lookup(benchmark::State& state) {
  Flows flows(static_cast<std::size_t>(state.range(0)));
  FlowTable table({1, 2});
  for (const auto& flow : flows.all) table.insert(*flow);
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.find(flows.keys[i]));
    if (++i == flows.keys.size()) i = 0;
  }
}
BENCHMARK(flow_lookup)->ArgName("flows")->Arg(100)->Arg(1000)->Arg(10000)->Arg(50000);

void flow_insert_and_erase(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  Flows flows(count + 1);
  FlowTable table({1, 2});
  for (std::size_t i = 0; i < count; ++i) table.insert(*flows.all[i]);
  std::size_t next = count;  // the one that is not in the table
  std::mt19937 random(1);
  for (auto _ : state) {
    table.insert(*flows.all[next]);
    next = random() % flows.all.size();
    table.erase(*flows.all[next]);
  }
}
BENCHMARK(flow_insert_and_erase)->ArgName("flows")->Arg(100)->Arg(1000)->Arg(10000)->Arg(50000);

}  // namespace
}  // namespace proxyvpn::stack
