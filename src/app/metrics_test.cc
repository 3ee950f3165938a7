#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/metrics_request.h"
#include "app/metrics_text.h"

namespace proxyvpn::app {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using RequestState = MetricsRequest::State;

int ask(std::string_view text, bool* head = nullptr) {
  // Byte by byte and as a whole, the same comes out.
  MetricsRequest whole;
  whole.feed(text);
  MetricsRequest pieces;
  for (const char c : text) pieces.feed({&c, 1});
  EXPECT_EQ(whole.status(), pieces.status()) << text;
  if (head) *head = whole.is_head();
  return whole.status();
}

TEST(MetricsRequest, GetAndHeadOfTheMetricsAreAnswered) {
  bool head = true;
  EXPECT_EQ(200, ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &head));
  EXPECT_FALSE(head);
  EXPECT_EQ(200, ask("HEAD /metrics?x=1 HTTP/1.0\r\n\r\n", &head));
  EXPECT_TRUE(head);
  EXPECT_EQ(200, ask("GET / HTTP/1.1\r\n\r\nmore"));
  EXPECT_EQ(0, ask("GET /metrics HTTP/1.1\r\nHost: x\r\n"));
  EXPECT_EQ(0, ask(""));
}

TEST(MetricsRequest, EverythingElseIsRefused) {
  EXPECT_EQ(404, ask("GET /secret HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(405, ask("POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"));
  EXPECT_EQ(405, ask("CONNECT 192.0.2.1:80 HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(400, ask("\x16\x03\x01 hello"));
  EXPECT_EQ(400, ask("GET /metrics\r\n\x01\r\n\r\n"));
  EXPECT_EQ(431, ask("GET /" + std::string(10'000, 'a') + " HTTP/1.1\r\n\r\n"));
  EXPECT_EQ(431, ask("GET /metrics HTTP/1.1\r\nA: " + std::string(8200, 'a')));
}

TEST(MetricsResponse, HasALengthAndEndsTheConnection) {
  const auto good = metrics_response(200, "x 1\n", false);
  EXPECT_THAT(good, StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(good, HasSubstr("Content-Length: 4\r\nConnection: close\r\n\r\nx 1\n"));
  EXPECT_THAT(metrics_response(200, "x 1\n", true), Not(HasSubstr("x 1")));
  const auto bad = metrics_response(405, "x 1\n", false);
  EXPECT_THAT(bad, HasSubstr("Allow: GET, HEAD\r\n"));
  EXPECT_THAT(bad, Not(HasSubstr("x 1")));
}

TEST(MetricsText, TellsTheStateAloneWithoutADaemon) {
  Status status;
  status.state = RunState::Crashed;
  const auto text = metrics_text(status);
  if (!text) GTEST_SKIP() << text.error().message;
  EXPECT_THAT(*text, HasSubstr("\nproxyvpn_up 0\n"));
  EXPECT_THAT(*text, HasSubstr("\nproxyvpn_shut 1\n"));
  EXPECT_THAT(*text, HasSubstr("\nproxyvpn_state{state=\"crashed\"} 1\n"));
  EXPECT_THAT(*text, HasSubstr("\nproxyvpn_state{state=\"up\"} 0\n"));
  EXPECT_THAT(*text, Not(HasSubstr("flows")));
}

TEST(MetricsText, TellsWhatADaemonCounts) {
  Status status;
  status.state = RunState::Up;
  status.pid = 5;
  status.totals.flows_total = 12345678901;
  status.totals.timeouts = 3;
  status.totals.bytes_down = 1ull << 40;
  status.refused = {{"udp", 2, 80}};
  status.worker_list = {{0, 6, 4, 0, 0}};
  status.resident = 4096;
  const auto text = metrics_text(status);
  if (!text) GTEST_SKIP() << text.error().message;
  EXPECT_THAT(*text,
              HasSubstr("# TYPE proxyvpn_flows_total counter\nproxyvpn_flows_total 12345678901"));
  EXPECT_THAT(*text, HasSubstr("proxyvpn_flows_failed_total{reason=\"timed_out\"} 3\n"));
  EXPECT_THAT(*text, HasSubstr("proxyvpn_bytes_total{direction=\"down\"} 1099511627776\n"));
  EXPECT_THAT(*text, HasSubstr("proxyvpn_killswitch_refused_packets_total{reason=\"udp\"} 2\n"));
  EXPECT_THAT(*text, HasSubstr("proxyvpn_worker_flows_open{worker=\"0\"} 4\n"));
  EXPECT_THAT(*text, HasSubstr("proxyvpn_memory_resident_bytes 4096\n"));
}

}  // namespace
}  // namespace proxyvpn::app
