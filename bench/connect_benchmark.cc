// Per connection: the CONNECT request, and the proxy's answer in one piece and in the usual shapes.
#include <benchmark/benchmark.h>

#include <string_view>

#include "connect/http_connect.h"

namespace proxyvpn::connect {
namespace {

using std::string_view_literals::operator""sv;

std::string fixed_hex() { return "00112233445566778899aabbccddeeff"; }

std::optional<Credentials> credentials(bool wanted) {
  if (!wanted) return std::nullopt;
  return Credentials{"alice", Secret("secret")};
}

void build_request(benchmark::State& state) {
  const Endpoint endpoint = *parse_endpoint("[2001:db8::7]:443");
  const auto authenticator = make_authenticator(credentials(state.range(0) != 0), fixed_hex);
  for (auto _ : state) {
    HttpConnect connect(to_target(endpoint), *authenticator);
    auto request = connect.request();
    benchmark::DoNotOptimize(request);
  }
}
BENCHMARK(build_request)->ArgName("basic")->Arg(0)->Arg(1);

constexpr std::string_view kReplies[] = {
    "HTTP/1.1 200 Connection established\r\n\r\n"sv,
    "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: squid/5.7\r\n"
    "X-Cache: MISS from proxy.example.com\r\nX-Cache-Lookup: NONE from proxy.example.com:3128\r\n"
    "Via: 1.1 proxy.example.com (squid/5.7)\r\nConnection: keep-alive\r\n\r\n"sv,
};

void read_reply(benchmark::State& state) {
  const auto authenticator = make_authenticator(std::nullopt, fixed_hex);
  const auto reply = kReplies[state.range(0)];
  const Target target{"192.0.2.7", 443};
  for (auto _ : state) {
    HttpConnect connect(target, *authenticator);
    auto request = connect.request();
    benchmark::DoNotOptimize(request);
    const auto answer =
        connect.feed({reinterpret_cast<const std::uint8_t*>(reply.data()), reply.size()});
    if (answer.outcome != Outcome::Established) {
      state.SkipWithError("the reply did not establish the tunnel");
      break;
    }
  }
  state.SetLabel(state.range(0) == 0 ? "short, with request" : "squid's, with request");
}
BENCHMARK(read_reply)->ArgName("reply")->Arg(0)->Arg(1);

}  // namespace
}  // namespace proxyvpn::connect
