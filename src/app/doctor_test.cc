// Every check of `doctor`, from facts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "app/doctor_host.h"
#include "app/doctor_proxy.h"
#include "app/doctor_report.h"
#include "app/doctor_running.h"
#include "testing/addresses.h"

namespace proxyvpn::app {
namespace {

using proxyvpn::testing::cidr;
using proxyvpn::testing::ip;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<Check> in_state(const Checks& checks, CheckState state) {
  std::vector<Check> found;
  for (const auto& check : checks.all()) {
    if (check.state == state) found.push_back(check);
  }
  return found;
}

std::string text_of(const Checks& checks) { return doctor_text({{"checks", checks}}, {}); }

// Exactly one check is not as on a machine in order: this one.
void expect_only(const Checks& checks, const std::string& name, CheckState state,
                 const std::string& words, const std::string& what) {
  std::vector<Check> odd;
  for (const auto& check : checks.all()) {
    if (check.state != CheckState::Ok) odd.push_back(check);
  }
  ASSERT_EQ(odd.size(), 1u) << what << "\n" << text_of(checks);
  EXPECT_EQ(odd.front().name, name) << what;
  EXPECT_EQ(odd.front().state, state) << what << ": " << sentence(odd.front());
  EXPECT_THAT(sentence(odd.front()), HasSubstr(words)) << what;
}

// ---- the host -----------------------------------------------------------------------------------

Config host_config() {
  Config config;
  config.tun_cidr = cidr("10.255.255.1/30");
  config.tun_cidr6 = cidr("fd70:7278:7976::1/126");
  return config;
}

void add_link(DoctorFacts& facts, const char* name, const char* kind, bool up = true) {
  netlink::LinkInfo link;
  link.index = static_cast<std::uint32_t>(facts.host.network.links.size()) + 1;
  link.name = name;
  link.kind = kind;
  link.up = up;
  facts.host.network.links.push_back(link);
}

DoctorFacts facts_in_order() {
  DoctorFacts facts;
  auto& host = facts.host;
  host.capability.permitted = true;
  host.capability.file_capability = true;
  host.capability.executable = "/usr/bin/proxyvpn";
  host.tun_node.mode = 0666;
  host.kernel = {6, 9};
  add_link(facts, "eth0", "");
  host.network.addresses = {{1, cidr("192.0.2.5/24")}};
  host.network.has_ipv6 = host.network.ipv6_on_new_links = true;
  host.network.default_route_links = {1};
  host.network.rules = {"0: from all lookup local", "32766: from all lookup main"};
  host.firewall_name = "nftables";
  host.resolvers.servers = {ip("192.0.2.53")};
  host.resolvers.upstreams_known = true;
  host.descriptors_hard = 524288;
  facts.release = "6.9.1";
  for (const auto name :
       {kTrialTun, kTrialNftables, kTrialEgress, kTrialRules4, kTrialRules6, kTrialDestroy}) {
    facts.kernel.trials.push_back({std::string(name), true, ""});
  }
  facts.kernel.trials.push_back({std::string(kTrialOwner), true, "persist"});
  facts.commands = {{"nft", "/usr/sbin/nft"}, {"iptables-nft", ""}, {"iptables-legacy", ""}};
  facts.rp_filter = 1;
  facts.marking_rules.emplace();
  facts.now = 1'800'000'000;
  facts.clock_synchronised = true;
  return facts;
}

void fail_trial(DoctorFacts& facts, std::string_view name, const char* words) {
  for (auto& trial : facts.kernel.trials) {
    if (trial.name == name) trial = {std::string(name), false, words};
  }
}

TEST(DoctorHost, AMachineInOrderHasNothingButOk) {
  const auto checks = check_host(host_config(), facts_in_order(), false);
  for (const auto state : {CheckState::Warn, CheckState::Fail, CheckState::Skip}) {
    EXPECT_THAT(in_state(checks, state), IsEmpty()) << text_of(checks);
  }
  EXPECT_GT(checks.all().size(), 25u);
}

struct HostCase {
  const char* name;
  CheckState state;
  const char* words;
  std::function<void(DoctorFacts&)> spoil;
};

TEST(DoctorHost, EveryFaultIsNamedByItsCheck) {
  const std::vector<HostCase> cases{
      {"tun-driver", CheckState::Fail, "no such device",
       [](DoctorFacts& f) { fail_trial(f, kTrialTun, "no such device"); }},
      {"nftables", CheckState::Fail, "modprobe",
       [](DoctorFacts& f) { fail_trial(f, kTrialNftables, "no fib"); }},
      {"policy-routing", CheckState::Fail, "CONFIG_IP_MULTIPLE_TABLES",
       [](DoctorFacts& f) { fail_trial(f, kTrialRules4, "x"); }},
      {"policy-routing6", CheckState::Fail, "CONFIG_IPV6_MULTIPLE_TABLES",
       [](DoctorFacts& f) { fail_trial(f, kTrialRules6, "x"); }},
      {"sock-destroy", CheckState::Warn, "CONFIG_INET_DIAG_DESTROY",
       [](DoctorFacts& f) { fail_trial(f, kTrialDestroy, "not supported"); }},
      {"firewall", CheckState::Fail, "no packet filter",
       [](DoctorFacts& f) {
         f.host.firewall_error = Error{Code::Unsupported, 0, "none"};
       }},
      {"descriptors", CheckState::Warn, "1024",
       [](DoctorFacts& f) { f.host.descriptors_hard = 1024; }},
      {"clock", CheckState::Fail, "1970-01-01", [](DoctorFacts& f) { f.now = 1000; }},
      {"network", CheckState::Fail, "broke",
       [](DoctorFacts& f) {
         f.host.network_error = Error{Code::System, EIO, "broke"};
       }},
      {"tun-name", CheckState::Fail, "'tun0'",
       [](DoctorFacts& f) { add_link(f, "tun0", "tun", false); }},
      {"rp-filter", CheckState::Skip, "cannot be read",
       [](DoctorFacts& f) { f.rp_filter.reset(); }},
      {"other-vpns", CheckState::Warn, "wg0 (wireguard)",
       [](DoctorFacts& f) { add_link(f, "wg0", "wireguard"); }},
      {"other-vpns", CheckState::Warn, "tailscale0",
       [](DoctorFacts& f) { add_link(f, "tailscale0", "tun"); }},
      {"policy-rules", CheckState::Warn, "uses bits of the packet mark",
       [](DoctorFacts& f) {
         f.host.network.rules.push_back("5000: from all fwmark 0x10000000 lookup 7");
       }},
      {"marking-rules", CheckState::Warn, "ip mangle OUTPUT (bits 0xffffffff)",
       [](DoctorFacts& f) {
         f.marking_rules->push_back({"ip mangle OUTPUT", false, 0xffffffff});
       }},
      {"resolvers", CheckState::Warn, "127.0.0.53",
       [](DoctorFacts& f) {
         f.host.resolvers = {};
         f.host.resolvers.notes = {"nobody knows whom 127.0.0.53 asks"};
       }},
  };
  for (const auto& item : cases) {
    auto facts = facts_in_order();
    item.spoil(facts);
    expect_only(check_host(host_config(), facts, false), item.name, item.state, item.words,
                item.name);
  }
}

TEST(DoctorHost, AClosedTunNodeIsToldOnce) {
  auto facts = facts_in_order();
  facts.host.capability.euid = 1000;
  facts.host.tun_node = {TunNode::State::NoAccess, EACCES, 0600, 0, 0};
  fail_trial(facts, kTrialTun, "denied");
  const auto checks = check_host(host_config(), facts, false);
  ASSERT_EQ(in_state(checks, CheckState::Fail).size(), 1u) << text_of(checks);
  EXPECT_EQ(in_state(checks, CheckState::Fail).front().name, "tun-device");
  EXPECT_THAT(sentence(in_state(checks, CheckState::Fail).front()), HasSubstr("0600"));
}

TEST(DoctorHost, WithoutPrivilegeItSaysWhatItCouldNotLookAt) {
  auto facts = facts_in_order();
  facts.host.capability.permitted = false;
  facts.host.capability.file_capability = false;
  facts.host.firewall_error = Error{Code::Permission, EPERM, "netlink"};
  facts.marking_rules.reset();
  facts.marking_error = Error{Code::Permission, 0, "it takes CAP_NET_ADMIN to read them"};
  facts.kernel = {"unshare: Operation not permitted", {}};
  const auto checks = check_host(host_config(), facts, false);
  const auto failures = in_state(checks, CheckState::Fail);
  ASSERT_EQ(failures.size(), 1u) << text_of(checks);
  EXPECT_EQ(failures.front().name, "capability");
  EXPECT_GE(checks.count(CheckState::Skip), 9u) << text_of(checks);
}

TEST(DoctorHost, WhatIsOursIsNoFaultWhileUp) {
  auto facts = facts_in_order();
  add_link(facts, "tun0", "tun");
  facts.host.other_instance = 4711;
  facts.host.firewall_presence = firewall::Presence::Owned;
  facts.tun_rp_filter = 2;
  const auto checks = check_host(host_config(), facts, true);
  EXPECT_EQ(checks.count(CheckState::Fail), 0u) << text_of(checks);
  EXPECT_EQ(checks.count(CheckState::Warn), 0u) << text_of(checks);
  facts.tun_rp_filter = 1;
  expect_only(check_host(host_config(), facts, true), "rp-filter", CheckState::Fail, "rp_filter=1",
              "strict on the TUN");
}

// ---- the proxy ----------------------------------------------------------------------------------

ProxyQuestions good_questions() {
  ProxyQuestions questions;
  questions.proxy = connect::parse_proxy_url("http://alice:pw@proxy.example:3128").value();
  questions.source = "the command line";
  questions.target = "web.test";
  questions.resolvers = {{{ip("192.0.2.53"), 53}, {}}};
  return questions;
}

Attempt attempt(const char* authority, std::uint16_t port, int status,
                Attempt::What what = Attempt::What::Address) {
  Attempt made;
  made.what = what;
  made.authority = authority;
  made.port = port;
  made.status = status;
  if (status < 200 || status > 299) {
    const Error error{status == 0 ? Code::Timeout : Code::Permission, 0,
                      "status " + std::to_string(status)};
    made.failure =
        probe::Failure{status == 0 ? probe::Step::ReachProxy : probe::Step::ProxyRefused, error};
  }
  return made;
}

ProxyAnswers good_answers() {
  ProxyAnswers answers;
  answers.addresses = {{ip("192.0.2.10"), 3128}};
  answers.reached = {{answers.addresses[0], std::nullopt, probe::Microseconds(1200)}};
  answers.target = {ip("192.0.2.80"), ip("2001:db8::80")};
  answers.attempts = {attempt("192.0.2.80:443", 443, 200), attempt("192.0.2.80:80", 80, 200),
                      attempt("192.0.2.80:22", 22, 200),
                      attempt("[2001:db8::80]:443", 443, 200, Attempt::What::Address6),
                      attempt("web.test:443", 443, 200, Attempt::What::Name)};
  answers.attempts[1].clock_ahead = -2;
  answers.resolvers.resize(1);
  answers.resolvers[0].server = {{ip("192.0.2.53"), 53}, {}};
  return answers;
}

TEST(DoctorProxy, AProxyInOrderHasNothingButOk) {
  const auto checks = judge_proxy(good_questions(), good_answers());
  EXPECT_EQ(checks.count(CheckState::Ok), checks.all().size()) << text_of(checks);
  EXPECT_GE(checks.all().size(), 9u);
  EXPECT_THAT(text_of(checks), Not(HasSubstr("pw")));
}

struct ProxyCase {
  const char* name;
  CheckState state;
  const char* words;
  std::function<void(ProxyQuestions&, ProxyAnswers&)> spoil;
};

void all_answer(ProxyAnswers& answers, int status) {
  for (auto& one : answers.attempts) {
    one = attempt(one.authority.c_str(), one.port, status, one.what);
  }
}

TEST(DoctorProxy, EveryFaultIsNamedByItsCheck) {
  const std::vector<ProxyCase> cases{
      {"proxy-name", CheckState::Skip, "--proxy-url",
       [](ProxyQuestions& q, ProxyAnswers&) { q.proxy.reset(); }},
      {"proxy-name", CheckState::Fail, "--proxy-ip",
       [](ProxyQuestions&, ProxyAnswers& a) {
         a.lookup_error = Error{Code::NotFound, 0, "resolving proxy.example: no such name"};
       }},
      {"proxy-reachable", CheckState::Fail, "refused",
       [](ProxyQuestions&, ProxyAnswers& a) {
         a.reached[0].error = Error{Code::System, ECONNREFUSED, "connecting: refused"};
         a.attempts.clear();
       }},
      {"proxy-reachable", CheckState::Warn, "[2001:db8::10]:3128 is gone",
       [](ProxyQuestions&, ProxyAnswers& a) {
         a.reached.push_back({{ip("2001:db8::10"), 3128},
                              Error{Code::Timeout, 0, "[2001:db8::10]:3128 is gone"},
                              {}});
       }},
      {"proxy-http", CheckState::Fail, "log",
       [](ProxyQuestions&, ProxyAnswers& a) { all_answer(a, 0); }},
      {"proxy-credentials", CheckState::Fail, "check user name and password",
       [](ProxyQuestions&, ProxyAnswers& a) { all_answer(a, 407); }},
      {"proxy-credentials", CheckState::Fail, "--password-file",
       [](ProxyQuestions& q, ProxyAnswers& a) {
         q.proxy->credentials.reset();
         all_answer(a, 407);
       }},
      {"proxy-credentials", CheckState::Skip, "only the running daemon has",
       [](ProxyQuestions& q, ProxyAnswers& a) {
         q.password_known = false;
         all_answer(a, 407);
       }},
      {"connect-22", CheckState::Warn, "forbids CONNECT to port 22 (403): ssh",
       [](ProxyQuestions&, ProxyAnswers& a) { a.attempts[2] = attempt("192.0.2.80:22", 22, 403); }},
      {"connect-443", CheckState::Fail, "could not reach the target",
       [](ProxyQuestions&, ProxyAnswers& a) {
         a.attempts[0] = attempt("192.0.2.80:443", 443, 503);
       }},
      {"connect-ipv6", CheckState::Warn, "fall back to IPv4",
       [](ProxyQuestions&, ProxyAnswers& a) {
         a.attempts[3] = attempt("[2001:db8::80]:443", 443, 403, Attempt::What::Address6);
       }},
      {"connect-80", CheckState::Warn, "--timeout",
       [](ProxyQuestions&, ProxyAnswers& a) { a.attempts[1] = attempt("192.0.2.80:80", 80, 0); }},
      {"clock-compared", CheckState::Warn, "differ by 4000 s",
       [](ProxyQuestions&, ProxyAnswers& a) { a.attempts[1].clock_ahead = -4000; }},
      {"clock-compared", CheckState::Fail, "set the clock",
       [](ProxyQuestions&, ProxyAnswers& a) { a.attempts[1].clock_ahead = 400'000; }},
  };
  for (const auto& item : cases) {
    auto questions = good_questions();
    auto answers = good_answers();
    item.spoil(questions, answers);
    expect_only(judge_proxy(questions, answers), item.name, item.state, item.words, item.name);
  }
}

TEST(DoctorProxy, AProxyThatWantsNamesIsRecognised) {
  auto answers = good_answers();
  for (auto& one : answers.attempts) {
    if (one.what != Attempt::What::Name) {
      one = attempt(one.authority.c_str(), one.port, 403, one.what);
    }
  }
  const auto checks = judge_proxy(good_questions(), answers);
  EXPECT_THAT(text_of(checks), HasSubstr("it wants names, and a connection has only an address"));
}

TEST(DoctorProxy, WhatCannotBeAskedIsSkippedWithTheReason) {
  auto questions = good_questions();
  questions.cannot_ask = "not asked: this machine is shut";
  const auto checks = judge_proxy(questions, {});
  EXPECT_EQ(checks.count(CheckState::Fail), 0u);
  EXPECT_EQ(checks.count(CheckState::Skip), 6u) << text_of(checks);
  EXPECT_THAT(text_of(checks), Not(HasSubstr("pw")));
}

TEST(DoctorResolvers, OneThatAnswersIsEnough) {
  auto answers = good_answers();
  EXPECT_EQ(judge_resolvers(answers).count(CheckState::Ok), 1u);
  answers.resolvers.push_back(answers.resolvers[0]);
  answers.resolvers[1].failure =
      probe::Failure{probe::Step::Wait, {Code::Timeout, 0, "192.0.2.54 is silent"}};
  EXPECT_EQ(judge_resolvers(answers).count(CheckState::Warn), 1u);
  answers.resolvers.erase(answers.resolvers.begin());
  const auto checks = judge_resolvers(answers);
  EXPECT_EQ(checks.count(CheckState::Fail), 1u);
  EXPECT_THAT(text_of(checks), HasSubstr("--allow-dns"));
  EXPECT_EQ(judge_resolvers({}).count(CheckState::Skip), 1u);
}

// ---- what is in force ---------------------------------------------------------------------------

RunningFacts good_running() {
  RunningFacts facts;
  facts.up = true;
  facts.tun_name = "tun0";
  facts.daemon = {true, "Up", true, "", "", true, 2, 2, 4711, ""};
  facts.table = firewall::TableState{true, true, 7, 60};
  netlink::LinkInfo tun;
  tun.index = 9;
  tun.name = "tun0";
  tun.kind = "tun";
  tun.up = true;
  facts.network.links = {tun};
  facts.network.addresses = {{9, cidr("10.255.255.1/30")}, {9, cidr("fd70:7278:7976::1/126")}};
  facts.network.has_ipv6 = true;
  facts.network.rules = {"0: from all lookup local",
                         "200: from all fwmark 0x10000000/0x30000000 lookup 28790 proto 112",
                         "201: from all fwmark 0x10000000/0x30000000 lookup 28791 proto 112",
                         "202: from all fwmark 0x10000000/0x30000000 unreachable proto 112",
                         "32800: not from all fwmark 0x20000000/0x30000000 lookup 28790 proto 112"};
  facts.network.rules_v6 = facts.network.rules;
  facts.network.routes = {
      "default dev tun0 table 28790 proto 112 scope link metric 100",
      "local default dev lo table 28791 proto 112 scope host metric 4294967295",
      "default dev tun0 table 28790 proto 112 metric 100 pref medium",
      "local default dev lo table 28791 proto 112 metric 4294967295 pref medium"};
  facts.tunnel = {{"192.0.2.80:443", 443, std::nullopt, 1500}};
  facts.refused = {{"refused-udp", "192.0.2.1:9 (UDP)", {probe::Refusal::AtOnce, ECONNREFUSED}}};
  facts.counted_flows = 3;
  facts.counted_refused = 3;
  return facts;
}

TEST(DoctorRunning, ASetUpInOrderHasNothingButOk) {
  const auto checks = check_running(good_running());
  EXPECT_EQ(checks.count(CheckState::Ok), checks.all().size()) << text_of(checks);
  EXPECT_GE(checks.all().size(), 11u);
}

struct RunningCase {
  const char* name;
  CheckState state;
  const char* words;
  std::function<void(RunningFacts&)> spoil;
};

TEST(DoctorRunning, EveryFaultIsNamedByItsCheck) {
  const std::vector<RunningCase> cases{
      {"daemon", CheckState::Skip, "is not up", [](RunningFacts& f) { f.up = false; }},
      {"daemon", CheckState::Fail, "crashed run",
       [](RunningFacts& f) {
         f.up = false;
         f.shut = true;
       }},
      {"daemon", CheckState::Warn, "proxyvpn unlock",
       [](RunningFacts& f) {
         f.up = false;
         f.shut = f.locked = true;
       }},
      {"daemon", CheckState::Fail, "no answer in time",
       [](RunningFacts& f) {
         f.daemon.found = false;
         f.daemon.problem = "no answer in time";
       }},
      {"state", CheckState::Fail, "the proxy refuses connections",
       [](RunningFacts& f) {
         f.daemon.flows = false;
         f.daemon.state = "Proxy lost (shut)";
         f.daemon.trouble = "refuses connections";
       }},
      {"workers", CheckState::Warn, "1 of 2", [](RunningFacts& f) { f.daemon.workers = 1; }},
      {"killswitch", CheckState::Warn, "--no-killswitch",
       [](RunningFacts& f) { f.daemon.killswitch = false; }},
      {"killswitch-table", CheckState::Skip, "CAP_NET_ADMIN",
       [](RunningFacts& f) {
         f.table.reset();
         f.table_problem = "it takes CAP_NET_ADMIN";
       }},
      {"killswitch-table", CheckState::Fail, "is not there",
       [](RunningFacts& f) { f.table = firewall::TableState{}; }},
      {"killswitch-table", CheckState::Fail, "emptied",
       [](RunningFacts& f) { f.table->rules = 0; }},
      {"our-rules", CheckState::Fail, "refuses them when there is no way",
       [](RunningFacts& f) { f.network.rules.erase(f.network.rules.begin() + 3); }},
      {"our-rules6", CheckState::Fail, "no IPv6 policy rule",
       [](RunningFacts& f) { f.network.rules_v6.clear(); }},
      {"routes", CheckState::Fail, "the default route into tun0",
       [](RunningFacts& f) { f.network.routes.erase(f.network.routes.begin()); }},
      {"routes6", CheckState::Fail, "both our routes",
       [](RunningFacts& f) { f.network.routes.resize(2); }},
      {"tun", CheckState::Fail, "is down", [](RunningFacts& f) { f.network.links[0].up = false; }},
      {"tunnel-443", CheckState::Fail, "see `state`",
       [](RunningFacts& f) {
         f.tunnel[0].error = Error{Code::System, ENETUNREACH, "unreachable"};
       }},
      {"tunnel-22", CheckState::Warn, "forbids this port",
       [](RunningFacts& f) {
         f.tunnel.push_back(
             {"192.0.2.80:22", 22, Error{Code::System, EHOSTUNREACH, "no route"}, 0});
       }},
      {"refused-udp", CheckState::Fail, "the killswitch does not hold",
       [](RunningFacts& f) { f.refused[0].report = {}; }},
      {"tunnel-counted", CheckState::Fail, "went around it",
       [](RunningFacts& f) { f.counted_flows = 0; }},
      {"refused-counted", CheckState::Fail, "another firewall",
       [](RunningFacts& f) { f.counted_refused = 0; }},
      {"refused-udp", CheckState::Fail, "was answered",
       [](RunningFacts& f) { f.refused[0].report.outcome = probe::Refusal::Answered; }},
  };
  for (const auto& item : cases) {
    auto facts = good_running();
    item.spoil(facts);
    expect_only(check_running(facts), item.name, item.state, item.words,
                std::string(item.name) + ": " + item.words);
  }
}

TEST(DoctorRunning, WithoutIpv6AddressesTheWayBackIsEnough) {
  auto facts = good_running();
  facts.network.addresses.pop_back();
  facts.network.routes.erase(facts.network.routes.begin() + 2);
  EXPECT_EQ(check_running(facts).count(CheckState::Fail), 0u) << text_of(check_running(facts));
}

TEST(DoctorRunning, OurRulesTellMarkAndTable) {
  const auto rules = find_our_rules(good_running().network);
  EXPECT_TRUE(rules.any);
  EXPECT_EQ(rules.bypass, 0x20000000u);
  EXPECT_EQ(rules.table, 28790u);
  netlink::Snapshot others;
  others.rules = {"200: from all fwmark 0x1 lookup 5 proto 1123", "0: from all lookup local"};
  EXPECT_FALSE(find_our_rules(others).any);
}

// ---- the report ---------------------------------------------------------------------------------

std::vector<CheckGroup> some_groups() {
  Checks host;
  host.ok("kernel", "Linux 6.1");
  host.fail("tun-device", "there is no /dev/net/tun", "load the kernel module (sudo modprobe tun)");
  Checks proxy;
  proxy.skip("proxy-name", "no proxy is given");
  proxy.warn("connect-22", "forbidden \xff");
  return {{"host", host}, {"proxy", proxy}};
}

TEST(DoctorReport, IsAlignedAndEndsWithTheNumbers) {
  EXPECT_EQ(
      "Host\n"
      "  ok    kernel      Linux 6.1\n"
      "  FAIL  tun-device  there is no /dev/net/tun\n"
      "                    -> load the kernel module (sudo modprobe tun)\n"
      "\n"
      "Proxy\n"
      "  skip  proxy-name  no proxy is given\n"
      "  warn  connect-22  forbidden \xff\n"
      "\n"
      "1 failure, 1 warning, 1 ok, 1 not looked at\n",
      doctor_text(some_groups(), {}));
}

TEST(DoctorReport, LinesAreBrokenAtTheTerminalsWidth) {
  const auto text = doctor_text(some_groups(), {true, 50});
  EXPECT_THAT(text, HasSubstr("-> load the kernel module\n                       (sudo modprobe"));
  EXPECT_THAT(text, HasSubstr("\x1b[1;31mFAIL\x1b[0m"));
}

TEST(DoctorReport, JsonSaysTheSame) {
  const auto json = nlohmann::json::parse(doctor_json(some_groups()));
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("failures"), 1);
  ASSERT_EQ(json.at("checks").size(), 4u);
  EXPECT_EQ(json.at("checks")[1].at("name"), "tun-device");
  EXPECT_EQ(json.at("checks")[1].at("state"), "fail");
  EXPECT_TRUE(json.at("checks")[0].at("advice").is_null());
}

TEST(DoctorReport, TheExitCodeCountsFailuresUpTo100) {
  EXPECT_EQ(1, doctor_exit_code(some_groups()));
  Checks many;
  for (int i = 0; i < 300; ++i) many.fail("x", "y");
  EXPECT_EQ(100, doctor_exit_code({{"host", many}}));
  EXPECT_EQ(0, doctor_exit_code({}));
}

// ---- reading ------------------------------------------------------------------------------------

TEST(KernelProbe, ATrialSurvivesItsLine) {
  const Trial trial{"tun", false, "cannot open /dev/net/tun: No such file\nor directory"};
  auto line = to_line(trial);
  ASSERT_TRUE(line.ends_with('\n'));
  line.pop_back();
  const auto again = parse_trial(line);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->name, "tun");
  EXPECT_FALSE(again->works);
  EXPECT_EQ(again->words, "cannot open /dev/net/tun: No such file or directory");
  for (const char* wrong : {"", "tun", "tun 2 x", " 1 x", "tun 1", "tun 1x"}) {
    EXPECT_FALSE(parse_trial(wrong)) << wrong;
  }
}

TEST(DoctorFactsTest, KnownProgramsAreFoundByTheirNames) {
  std::string pattern = ::testing::TempDir() + "proxyvpn-proc-XXXXXX";
  ASSERT_NE(nullptr, ::mkdtemp(pattern.data()));
  const auto add = [&](const char* pid, const char* name) {
    ::mkdir((pattern + "/" + pid).c_str(), 0700);
    std::ofstream(pattern + "/" + pid + "/comm") << name << "\n";
  };
  add("1", "systemd");
  add("20", "NetworkManager");
  add("21", "systemd-resolve");
  add("sys", "firewalld");
  EXPECT_EQ(running_programs(pattern.c_str()),
            (std::set<std::string>{"NetworkManager", "systemd-resolve"}));
  std::ofstream(pattern + "/number") << "2\n";
  EXPECT_EQ(read_number(pattern + "/number"), 2);
  EXPECT_EQ(read_number(pattern + "/20/comm"), std::nullopt);
  EXPECT_EQ(read_number(pattern + "/none"), std::nullopt);
  std::filesystem::remove_all(pattern);
  EXPECT_THAT(running_programs("/nonexistent"), IsEmpty());
}

}  // namespace
}  // namespace proxyvpn::app
