// Per packet: finding the TCP segment, and the Internet checksum where the kernel leaves it to us.
#include <benchmark/benchmark.h>

#include "testing/tcp_peer.h"
#include "tun/ip_packet.h"

namespace proxyvpn {
namespace {

std::vector<std::uint8_t> packet(bool v6, std::size_t payload) {
  const stack::FlowKey key = {*parse_endpoint(v6 ? "[fd00::5]:40000" : "10.0.0.5:40000"),
                              *parse_endpoint(v6 ? "[2001:db8::7]:443" : "192.0.2.7:443")};
  return testing::build_packet(key, tun::kAck, 1000, 2000, 65535, {},
                               std::vector<std::uint8_t>(payload, 'x'));
}

void parse_packet(benchmark::State& state) {
  const auto bytes = packet(state.range(0) == 6, 1400);
  for (auto _ : state) {
    tun::TcpSegment segment;
    if (tun::parse_tcp(bytes, &segment) != tun::ParseStatus::Tcp) {
      state.SkipWithError("the packet was not taken for TCP");
      break;
    }
    benchmark::DoNotOptimize(segment);
  }
}
BENCHMARK(parse_packet)->ArgName("ip")->Arg(4)->Arg(6);

void checksum(benchmark::State& state) {
  const std::vector<std::uint8_t> bytes(static_cast<std::size_t>(state.range(0)), 0x5a);
  for (auto _ : state) {
    benchmark::DoNotOptimize(tun::checksum_fold(tun::checksum_add(0, bytes)));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum)->ArgName("bytes")->Arg(20)->Arg(1460)->Arg(65483);

}  // namespace
}  // namespace proxyvpn
