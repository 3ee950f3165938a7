#include "app/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "app/machine_state.h"
#include "app/process_memory.h"
#include "app/rate_meter.h"
#include "app/status_json.h"
#include "app/status_text.h"

namespace proxyvpn::app {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Status full_status() {
  Status status;
  status.state = RunState::ProxyLost;
  status.pid = 4711;
  status.started = 1'700'000'000;
  status.now = status.started + 7384;
  status.proxy_url = "http://alice@proxy.full_status:8080";
  status.proxies = {parse_endpoint("192.0.2.10:8080").value(),
                    parse_endpoint("[2001:db8::1]:8080").value()};
  status.proxy_in_use = status.proxies[1];
  status.trouble = "refuses connections";
  status.tun_name = "tun0";
  status.tun_addresses = {parse_cidr("10.255.255.1/30").value()};
  status.backend = "nftables";
  status.refused = {{"udp", 2, 80}, {"dns", 1, 40}, {"icmp", 0, 0}};
  status.resolvers = {IpAddress::parse("192.0.2.53").value()};
  status.totals.flows_open = 3;
  status.totals.flows_total = 1000;
  status.totals.refused_by_proxy = 7;
  status.totals.timeouts = 2;
  status.totals.bytes_up = 1536;
  status.totals.bytes_down = std::uint64_t{5} << 40;
  status.totals.buffer_bytes = 4096;
  status.rates = {100, 2048, 1};
  status.history = {{1, 2, 3}, {100, 2048, 1}};
  status.workers = 1;
  status.workers_wanted = 2;
  status.worker_list = {{0, 4712, 3, 1536, 5}, {1, 0, 0, 0, 0}};
  status.resident = 30 << 20;
  status.memory_budget = 256 << 20;
  return status;
}

TEST(Status, BeginsWithTheStateWordThenAlignedFields) {
  const std::string text = status_text(full_status());
  EXPECT_THAT(text,
              StartsWith("Proxy lost (shut)\nproxy       http://alice@proxy.full_status:8080 ("));
  EXPECT_THAT(text, HasSubstr("\ntrouble     the proxy refuses connections\n"));
  EXPECT_THAT(text, HasSubstr("\nin use      [2001:db8::1]:8080\n"));
  EXPECT_THAT(text, HasSubstr("(2 h 3 min, process 4711)\n"));
  EXPECT_THAT(text, HasSubstr("\nrefused     3 packets, 120 B (udp 2, dns 1)\n"));
  EXPECT_THAT(text, HasSubstr("\nflows       3 open, 1000 in all\n"));
  EXPECT_THAT(text, HasSubstr("\nfailed      7 refused by the proxy, 2 not answered in time\n"));
  EXPECT_THAT(text, HasSubstr("\nbytes       1.5 KiB up, 5.0 TiB down\n"));
  EXPECT_THAT(text, HasSubstr("\nrates       100 B/s up, 2.0 KiB/s down, 1 flow/s\n"));
  EXPECT_THAT(text, HasSubstr("\nworkers     1 of 2, with 3 + 0 flows\n"));
  EXPECT_THAT(text, HasSubstr("\nmemory      30.0 MiB resident, 4.0 KiB in flight of at most 256"));
}

TEST(Status, SaysShutWhenNothingGoesOut) {
  auto status = full_status();
  const auto text_of = [&](RunState state) {
    status.state = state;
    return state_text(status);
  };
  EXPECT_EQ("Up", text_of(RunState::Up));
  EXPECT_EQ("Starting", text_of(RunState::Starting));
  EXPECT_EQ("Restarting (shut)", text_of(RunState::WorkerLost));
  EXPECT_EQ("Crashed (shut)", text_of(RunState::Crashed));
  EXPECT_EQ("Locked (shut)", text_of(RunState::Locked));
  EXPECT_EQ("Down", text_of(RunState::Down));
  status.killswitch = false;
  EXPECT_EQ("Proxy lost", text_of(RunState::ProxyLost));
  EXPECT_THAT(status_text(status), HasSubstr("\nkillswitch  off: "));
  EXPECT_THAT(status_text(status), Not(HasSubstr("\nrefused")));
}

TEST(Status, HasAnExitStatusForEachKindOfState) {
  EXPECT_EQ(0, exit_status(RunState::Up));
  EXPECT_EQ(3, exit_status(RunState::Down));
  EXPECT_EQ(0, exit_status(RunState::Down, true));
  EXPECT_EQ(4, exit_status(RunState::Crashed, true));
  EXPECT_EQ(4, exit_status(RunState::Locked));
  EXPECT_EQ(5, exit_status(RunState::ProxyLost));
  EXPECT_EQ(5, exit_status(RunState::Starting));
  EXPECT_EQ(1, exit_status(RunState::Unknown));
}

TEST(StatusJson, WhatWasWrittenIsRead) {
  const Status status = full_status();
  const std::string json = to_json(status);
  EXPECT_THAT(json, Not(HasSubstr("\n")));
  const auto read = parse_status(json);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(json, to_json(*read));
  EXPECT_EQ(status_text(status), status_text(*read));
  EXPECT_EQ(status.totals, read->totals);
  EXPECT_EQ(status.history, read->history);
  EXPECT_EQ(status.worker_list, read->worker_list);
}

TEST(StatusJson, WithoutADaemonThereIsOnlyTheState) {
  Status status;
  status.state = RunState::Crashed;
  status.detail = "`proxyvpn up` takes over";
  const std::string json = to_json(status);
  EXPECT_THAT(json, HasSubstr(R"x("state":"crashed","state_text":"Crashed (shut)","shut":true)x"));
  EXPECT_THAT(json, Not(HasSubstr("proxy\"")));
  EXPECT_EQ("Crashed (shut)\nhint  `proxyvpn up` takes over\n", status_text(*parse_status(json)));
}

TEST(StatusJson, RefusesWhatIsNone) {
  const std::string good = to_json(full_status());
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"schema\":1", "\"schema\":2"},
           {"\"state\":\"proxy_lost\"", "\"state\":\"merry\""},
           {"\"pid\":4711", "\"pid\":\"x\""},
           {"\"pid\":4711", "\"pid\":99999999999"},
           {"\"open\":3", "\"open\":-3"},
           {"\"open\":3", "\"open\":1.5"},
           {"192.0.2.53", "192.0.2"},
           {"[2001:db8::1]:8080\",\"trouble", "nowhere\",\"trouble"},
           {"\"up\":1,", "\"up\":[],"}}) {
    std::string bad = good;
    const auto at = bad.find(from);
    ASSERT_NE(std::string::npos, at) << from;
    bad.replace(at, from.size(), to);
    EXPECT_FALSE(parse_status(bad).has_value()) << to;
  }
  for (const char* text : {"", "null", "[]", "{}", "{\"schema\":1}", "ok"}) {
    EXPECT_FALSE(parse_status(text).has_value()) << text;
  }
}

TEST(StatusJson, WhatIsNoUtf8IsReplaced) {
  auto status = full_status();
  status.proxy_url = "http://\xff\xfe@proxy:1";
  const auto read = parse_status(to_json(status));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ("http://\xef\xbf\xbd\xef\xbf\xbd@proxy:1", read->proxy_url);
}

TEST(Human, NumbersHaveOneUnit) {
  EXPECT_EQ("0 B", human_bytes(0));
  EXPECT_EQ("1023 B", human_bytes(1023));
  EXPECT_EQ("1.0 KiB", human_bytes(1024));
  EXPECT_EQ("1.0 MiB", human_bytes((1 << 20) - 1));
  EXPECT_EQ("150 MiB", human_bytes(150 << 20));
  EXPECT_EQ("16.0 EiB", human_bytes(~std::uint64_t{0}));
  EXPECT_EQ("0 s", human_seconds(-5));
  EXPECT_EQ("3 min 5 s", human_seconds(185));
  EXPECT_EQ("1 h", human_seconds(3600));
  EXPECT_EQ("5 d 2 h", human_seconds(5 * 86400 + 2 * 3600 + 59));
}

TEST(RateMeter, CountsPerSecondOverTheTimeThatPassed) {
  RateMeter meter;
  const TimePoint start{};
  WorkerTotals totals;
  totals.bytes_up = 1000;
  meter.sample(start, totals);
  EXPECT_EQ(Rates{}, meter.rates());
  totals.bytes_up = 3000;
  totals.flows_total = 10;
  meter.sample(start + seconds(2), totals);
  EXPECT_EQ((Rates{1000, 0, 5}), meter.rates());
  meter.sample(start + seconds(2), totals);  // no time has passed: no new second
  EXPECT_EQ(1u, meter.history().size());
  totals.bytes_up = 0;
  meter.sample(start + seconds(3), totals);
  EXPECT_EQ(Rates{}, meter.rates());
  for (int i = 0; i < 100; ++i) meter.sample(start + seconds(4 + i), totals);
  EXPECT_EQ(RateMeter::kHistory, meter.history().size());
}

TEST(MachineState, IsJudgedFromTheFilterElseFromRulesAndRoutes) {
  MachineFacts facts;
  facts.presence = firewall::Presence::Absent;
  EXPECT_EQ(RunState::Down, judge_machine(facts).state);
  facts.presence = firewall::Presence::Orphan;
  EXPECT_EQ(RunState::Crashed, judge_machine(facts).state);
  facts.locked = true;
  EXPECT_EQ(RunState::Locked, judge_machine(facts).state);
  facts.presence = firewall::Presence::Owned;
  EXPECT_THAT(judge_machine(facts).detail, HasSubstr("--state-dir"));

  MachineFacts poor;
  poor.filter_problem = "nftables: Operation not permitted";
  EXPECT_EQ(RunState::Down, judge_machine(poor).state);
  EXPECT_THAT(judge_machine(poor).detail, HasSubstr("not permitted"));
  poor.routing_of_ours = true;
  EXPECT_EQ(RunState::Crashed, judge_machine(poor).state);
  poor.daemon_lives = true;
  EXPECT_EQ(RunState::Unknown, judge_machine(poor).state);
}

TEST(ProcessMemory, ReadsTheSecondNumber) {
  EXPECT_EQ(456u, resident_pages("123 456 7 8 0 9 0\n").value());
  EXPECT_FALSE(resident_pages("").has_value());
  EXPECT_FALSE(resident_pages("123 x").has_value());
  EXPECT_GT(resident_bytes(::getpid()).value_or(0), 0u);
  EXPECT_FALSE(resident_bytes(0).has_value());
}

}  // namespace
}  // namespace proxyvpn::app
