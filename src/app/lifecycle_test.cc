#include "app/lifecycle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/cleanup.h"
#include "testing/addresses.h"
#include "testing/recording_host.h"

namespace proxyvpn::app {
namespace {

using proxyvpn::testing::at;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

HostPlan small_plan() {
  HostPlan plan;
  plan.routing.link.name = "tun0";
  netlink::Route barrier;
  barrier.type = netlink::RouteType::Unreachable;
  barrier.metric = 4294967295;
  plan.routing.barrier_routes = {barrier};
  netlink::PolicyRule rule;
  rule.priority = 200;
  rule.mark = {0x10000000, 0x30000000};
  rule.table = netlink::kDefaultTable;
  plan.routing.rules = {rule};
  rule.priority = 201;
  rule.action = netlink::RuleAction::Unreachable;
  plan.routing.rules.push_back(rule);
  netlink::Route device;
  device.device = "tun0";
  plan.routing.device_routes = {device};
  plan.policy.proxies = {at("192.0.2.10:8080")};
  plan.policy.resolvers = {IpAddress::parse("192.0.2.53").value()};
  return plan;
}

class LifecycleTest : public ::testing::Test {
 protected:
  HostDoors doors() {
    HostDoors result;
    result.firewall = &firewall;
    result.routing = &routing;
    result.sockets = &sockets;
    result.create_tun = [this](const std::string& name, unsigned queues,
                               bool) -> Result<tun::TunQueues> {
      if (auto noted = journal.note("tun create " + name); !noted) {
        return tl::unexpected(noted.error());
      }
      tun::TunQueues made;
      for (unsigned i = 0; i < queues; ++i) made.queues.emplace_back(-1);
      made.offloads = offloads;
      return made;
    };
    return result;
  }
  Lifecycle::Hooks hooks() {
    Lifecycle::Hooks result;
    result.warn = [this](const std::string& sentence) { warnings.push_back(sentence); };
    return result;
  }
  netlink::TcpSocket socket(const char* local, const char* remote) {
    netlink::TcpSocket result;
    result.local = at(local);
    result.remote = at(remote);
    result.uid = 1000;
    return result;
  }
  // What stays on the machine.
  bool nothing_left() const {
    return routing.objects.empty() && firewall.found == firewall::Presence::Absent;
  }

  proxyvpn::testing::Journal journal;
  proxyvpn::testing::RecordingFirewall firewall{journal};
  proxyvpn::testing::RecordingRouting routing{journal};
  proxyvpn::testing::RecordingSocketDiag sockets{journal};
  std::vector<std::string> warnings;
  tun::Offloads offloads{true, true, true};
};

constexpr const char* kBarrier = "unreachable default";

TEST_F(LifecycleTest, KillswitchComesFirstAndGoesLast) {
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  ASSERT_TRUE(lifecycle.up().has_value());
  EXPECT_TRUE(lifecycle.is_up());
  lifecycle.commit();
  EXPECT_THAT(journal.lines,
              ElementsAre("nft install guarded", "remove all of ours", HasSubstr(kBarrier),
                          HasSubstr("pref 200"), HasSubstr("pref 201"), "tun create tun0",
                          "link up tun0", HasSubstr("default dev tun0")));
  journal.lines.clear();
  lifecycle.cut_off();
  ASSERT_TRUE(lifecycle.down().has_value());
  EXPECT_THAT(
      journal.lines,
      ElementsAre("nft install shut", HasSubstr("del route add default dev tun0"), "link del tun0",
                  HasSubstr("pref 201"), HasSubstr("pref 200"), HasSubstr(kBarrier), "nft remove"));
  EXPECT_TRUE(nothing_left());
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(LifecycleTest, WithoutSegmentationTheDefaultMtuBecomesTheLargest) {
  for (const bool segmentation : {true, false}) {
    offloads.segmentation = segmentation;
    for (const std::uint32_t asked : {1500U, 9000U}) {
      auto plan = small_plan();
      plan.routing.link.mtu = asked;
      Lifecycle lifecycle(doors(), plan, hooks());
      ASSERT_TRUE(lifecycle.up().has_value());
      const std::uint32_t want = asked == 1500 && !segmentation ? 65535 : asked;
      EXPECT_EQ(routing.last_link.mtu, want);
      ASSERT_TRUE(lifecycle.down().has_value());
    }
  }
}

TEST_F(LifecycleTest, WithoutKillswitchNothingIsRefusedDuringTheTeardown) {
  auto plan = small_plan();
  plan.policy.mode = firewall::Mode::Open;
  Lifecycle lifecycle(doors(), plan, hooks());
  ASSERT_TRUE(lifecycle.up().has_value());
  lifecycle.commit();
  journal.lines.clear();
  sockets.open = {socket("192.168.1.2:40000", "203.0.113.1:443")};
  lifecycle.cut_off();
  EXPECT_THAT(journal.lines, ElementsAre("destroy 192.168.1.2:40000 203.0.113.1:443"));
}

TEST_F(LifecycleTest, AFailureAtAnyActionLeavesNothingBehind) {
  {
    Lifecycle whole(doors(), small_plan());
    ASSERT_TRUE(whole.up().has_value());
  }
  const auto actions = journal.lines;
  ASSERT_EQ(8u, actions.size());
  for (const auto& action : actions) {
    SCOPED_TRACE(action);
    journal = {};
    routing.objects.clear();
    firewall.found = firewall::Presence::Absent;
    firewall.installed.reset();
    journal.fail_on = {action};
    Lifecycle lifecycle(doors(), small_plan());
    const auto result = lifecycle.up();
    ASSERT_FALSE(result.has_value());
    EXPECT_THAT(result.error().message, HasSubstr("start failed at \""));
    EXPECT_FALSE(lifecycle.is_up());
    EXPECT_TRUE(nothing_left());
    EXPECT_EQ("nft remove", journal.lines.back());
  }
}

TEST_F(LifecycleTest, AFailureOfAHookTakesEveryStepBackInReverse) {
  for (int stop = 1; stop <= Lifecycle::step_count(); ++stop) {
    SCOPED_TRACE(stop);
    std::vector<std::string> seen;
    auto with_hooks = hooks();
    with_hooks.before = [&](int number, std::string_view name) {
      seen.push_back(std::to_string(number) + " " + std::string(name));
    };
    with_hooks.after = [&](int number, std::string_view) -> Result<> {
      if (number != stop) return {};
      return fail(Code::System, "stopped here");
    };
    Lifecycle lifecycle(doors(), small_plan(), with_hooks);
    const auto result = lifecycle.up();
    ASSERT_FALSE(result.has_value());
    EXPECT_THAT(result.error().message, HasSubstr("stopped here"));
    EXPECT_EQ(static_cast<std::size_t>(stop), seen.size());
    EXPECT_TRUE(nothing_left());
  }
}

TEST_F(LifecycleTest, WhatCannotBeTakenBackIsNamedAndTheRestGoes) {
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  ASSERT_TRUE(lifecycle.up().has_value());
  lifecycle.commit();
  journal.fail_on = {"link del tun0"};
  const auto result = lifecycle.down();
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message, HasSubstr("taking back \"TUN device\""));
  EXPECT_TRUE(nothing_left());
}

TEST_F(LifecycleTest, ASecondInstanceLeavesTheFirstUntouched) {
  firewall.found = firewall::Presence::Owned;
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  const auto result = lifecycle.up();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(Code::Busy, result.error().code);
  EXPECT_THAT(journal.lines, IsEmpty());
}

TEST_F(LifecycleTest, AFailedStartOverACrashedRunStaysShut) {
  firewall.found = firewall::Presence::Orphan;
  journal.fail_on = {"tun create tun0"};
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  EXPECT_FALSE(lifecycle.up().has_value());
  EXPECT_TRUE(lifecycle.adopted());
  EXPECT_EQ("nft install shut", journal.lines.back());
  EXPECT_THAT(journal.lines, ::testing::Not(::testing::Contains("nft remove")));
}

TEST_F(LifecycleTest, ATeardownAfterAnAdoptionOpens) {
  firewall.found = firewall::Presence::Orphan;
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  ASSERT_TRUE(lifecycle.up().has_value());
  lifecycle.commit();
  ASSERT_TRUE(lifecycle.down().has_value());
  EXPECT_TRUE(nothing_left());
}

TEST_F(LifecycleTest, PersistKillswitchLeavesTheMachineShut) {
  auto plan = small_plan();
  plan.persist_killswitch = true;
  Lifecycle lifecycle(doors(), plan, hooks());
  ASSERT_TRUE(lifecycle.up().has_value());
  lifecycle.commit();
  ASSERT_TRUE(lifecycle.down().has_value());
  ASSERT_TRUE(firewall.installed.has_value());
  EXPECT_EQ(firewall::Mode::Shut, firewall.installed->mode);
  // Nothing but the note that it was on purpose.
  EXPECT_THAT(routing.objects, ElementsAre(HasSubstr("metric 4294967294")));
  EXPECT_TRUE(is_locked(routing).value());
}

TEST_F(LifecycleTest, AFailedStartOverALockedMachineLeavesItLocked) {
  firewall.found = firewall::Presence::Orphan;
  ASSERT_TRUE(routing.add(lock_marker()).has_value());
  journal.fail_on = {"tun create tun0"};
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  EXPECT_FALSE(lifecycle.up().has_value());
  EXPECT_EQ(firewall::Mode::Shut, firewall.installed->mode);
  EXPECT_TRUE(is_locked(routing).value());
}

TEST_F(LifecycleTest, InboundSessionsAreKeptTheLateOnesToo) {
  sockets.listening = {at("0.0.0.0:22")};
  sockets.open = {socket("192.168.1.2:22", "192.168.1.9:51000"),
                  socket("192.168.1.2:40000", "203.0.113.1:443"),
                  socket("192.168.1.2:40001", "192.0.2.53:53")};
  sockets.late = {socket("192.168.1.2:22", "192.168.1.9:51001")};
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  ASSERT_TRUE(lifecycle.up().has_value());
  const std::vector<firewall::KeepFlow> want = {{at("192.168.1.2:22"), at("192.168.1.9:51000")},
                                                {at("192.168.1.2:22"), at("192.168.1.9:51001")}};
  EXPECT_EQ(want, firewall.installed->keep);
  EXPECT_EQ("nft install guarded", journal.lines[0]);
  EXPECT_EQ("nft install guarded", journal.lines[1]);
  EXPECT_EQ("destroy 192.168.1.2:40000 203.0.113.1:443", journal.lines[2]);
  EXPECT_EQ("remove all of ours", journal.lines[3]);
}

TEST(Captured, LeavesWhatThePolicyLetsOut) {
  firewall::Policy policy = small_plan().policy;
  policy.daemon_uid = 0;
  policy.direct = {parse_cidr("10.0.0.0/8").value()};
  policy.inside_networks = {parse_cidr("172.17.0.0/16").value()};
  policy.exempt_uids = {200};
  const auto socket = [](const char* remote, std::uint32_t uid, std::uint32_t mark) {
    netlink::TcpSocket result;
    result.local = at("192.168.1.2:40000");
    result.remote = at(remote);
    result.uid = uid;
    result.mark = mark;
    return result;
  };
  const std::vector<netlink::TcpSocket> connected = {
      socket("10.1.1.1:443", 1000, 0),              // --exclude
      socket("10.1.1.1:53", 1000, 0),               // DNS is refused before --exclude
      socket("172.17.0.2:80", 1000, 0),             // a container
      socket("192.0.2.10:8080", 0, 0x20000000),     // ours
      socket("192.0.2.10:8080", 1000, 0x20000000),  // a forged mark
      socket("192.0.2.10:8080", 0, 0),              // an application like any other
      socket("203.0.113.1:443", 200, 0),            // --exempt-user
  };
  std::vector<std::string> got;
  for (const auto& one : captured({connected, {}}, policy)) {
    got.push_back(to_string(one.remote) + " " + std::to_string(one.uid));
  }
  EXPECT_THAT(got, ElementsAre("10.1.1.1:53 1000", "192.0.2.10:8080 1000", "192.0.2.10:8080 0"));
}

TEST(Captured, LeavesConnectionsBetweenTwoProgramsOfThisMachine) {
  netlink::TcpSocket server;
  server.local = at("192.168.1.2:5432");
  server.remote = at("192.168.1.2:40000");
  netlink::TcpSocket client;
  client.local = server.remote;
  client.remote = server.local;
  EXPECT_THAT(captured({{server, client}, {server}}, {}), IsEmpty());
}

// The list comes from a worker, which may be wrong or lie: only what is captured anyway is cut.
TEST_F(LifecycleTest, CutsOfADeadWorkersConnectionsThoseThatAreCaptured) {
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  ASSERT_TRUE(lifecycle.up());
  sockets.open = {socket("10.255.255.1:40000", "203.0.113.80:443"),
                  socket("10.255.255.1:40001", "203.0.113.80:443"),
                  socket("192.168.1.2:22", "203.0.113.9:50000")};
  sockets.listening = {at("192.168.1.2:22")};
  journal.lines.clear();
  ASSERT_TRUE(lifecycle.cut({{at("10.255.255.1:40001"), at("203.0.113.80:443")},
                             {at("192.168.1.2:22"), at("203.0.113.9:50000")},
                             {at("10.255.255.1:9"), at("203.0.113.80:9")}}));
  EXPECT_THAT(journal.lines, ElementsAre("destroy 10.255.255.1:40001 203.0.113.80:443"));
}

TEST_F(LifecycleTest, HealsWhatOthersTookAway) {
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  ASSERT_TRUE(lifecycle.up().has_value());
  EXPECT_FALSE(lifecycle.heal_routing().value());
  EXPECT_FALSE(lifecycle.heal_firewall().value());
  const auto all = routing.objects;
  routing.objects.erase(routing.objects.begin());
  EXPECT_TRUE(lifecycle.heal_routing().value());
  EXPECT_EQ(all, routing.objects);
  firewall.whole = false;
  EXPECT_TRUE(lifecycle.heal_firewall().value());
}

TEST_F(LifecycleTest, ANewPolicyKeepsTheSessionsThatWereKept) {
  sockets.listening = {at("0.0.0.0:22")};
  sockets.open = {socket("192.168.1.2:22", "192.168.1.9:51000")};
  Lifecycle lifecycle(doors(), small_plan(), hooks());
  ASSERT_TRUE(lifecycle.up().has_value());
  journal.lines.clear();
  auto policy = small_plan().policy;
  ASSERT_TRUE(lifecycle.apply_policy(policy).has_value());
  EXPECT_THAT(journal.lines, IsEmpty());
  policy.proxies.push_back(at("192.0.2.11:8080"));
  ASSERT_TRUE(lifecycle.apply_policy(policy).has_value());
  EXPECT_THAT(journal.lines, ElementsAre("nft install guarded"));
  EXPECT_EQ(1u, firewall.installed->keep.size());
}

// --- what `down` does without a daemon

TEST_F(LifecycleTest, ACrashBehindAnyStepIsCleanedUpFromTheKernelsState) {
  for (int stop = 1; stop <= Lifecycle::step_count(); ++stop) {
    SCOPED_TRACE(stop);
    journal = {};
    struct Crash {};
    auto crashing = hooks();
    crashing.after = [&](int number, std::string_view) -> Result<> {
      if (number == stop) throw Crash{};  // nothing of ours runs any more
      return {};
    };
    try {
      Lifecycle lifecycle(doors(), small_plan(), crashing);
      static_cast<void>(lifecycle.up());
    } catch (const Crash&) {
    }
    firewall.found = firewall::Presence::Orphan;  // it outlives its owner
    sockets.open = {socket("192.168.1.2:40000", "203.0.113.1:443")};
    journal.lines.clear();
    const auto cleaned = clean_up(doors(), {"tun0"}, Leftovers::Remove);
    ASSERT_TRUE(cleaned.has_value());
    EXPECT_TRUE(cleaned->found);
    EXPECT_EQ(1u, cleaned->connections);
    EXPECT_TRUE(nothing_left());
    EXPECT_THAT(journal.lines, ElementsAre("destroy 192.168.1.2:40000 203.0.113.1:443",
                                           "link del tun0", "remove all of ours", "nft remove"));
    const auto again = clean_up(doors(), {"tun0"}, Leftovers::Remove);
    ASSERT_TRUE(again.has_value());
    EXPECT_FALSE(again->found);
    EXPECT_EQ(0u, again->connections);
  }
}

TEST_F(LifecycleTest, CleaningUpLeavesALivingDaemonAlone) {
  firewall.found = firewall::Presence::Owned;
  const auto cleaned = clean_up(doors(), {"tun0"}, Leftovers::Remove);
  ASSERT_FALSE(cleaned.has_value());
  EXPECT_EQ(Code::Busy, cleaned.error().code);
  EXPECT_THAT(journal.lines, IsEmpty());
}

TEST_F(LifecycleTest, OnlyUnlockOpensALockedMachine) {
  ASSERT_TRUE(lock_machine(doors(), small_plan().policy).has_value());
  firewall.found = firewall::Presence::Orphan;
  sockets.open = {socket("192.168.1.2:40000", "10.1.1.1:443")};
  const auto kept = clean_up(doors(), {"tun0"}, Leftovers::Remove);
  ASSERT_TRUE(kept.has_value());
  EXPECT_TRUE(kept->still_locked);
  EXPECT_EQ(0u, kept->connections);
  EXPECT_TRUE(is_locked(routing).value());
  EXPECT_EQ(firewall::Mode::Shut, firewall.installed->mode);
  const auto opened = clean_up(doors(), {"tun0"}, Leftovers::RemoveLock);
  ASSERT_TRUE(opened.has_value());
  EXPECT_TRUE(nothing_left());
}

TEST_F(LifecycleTest, LockKeepsWhatCameInAndCutsTheRest) {
  const auto in = socket("192.168.1.2:22", "10.1.1.1:50000");
  sockets.listening = {*parse_endpoint("0.0.0.0:22")};
  sockets.open = {in, socket("192.168.1.2:40000", "203.0.113.1:443")};
  const auto locked = lock_machine(doors(), small_plan().policy);
  ASSERT_TRUE(locked.has_value());
  EXPECT_EQ(1u, locked->connections);
  EXPECT_THAT(locked->warnings, IsEmpty());
  ASSERT_EQ(1u, firewall.installed->keep.size());
  EXPECT_EQ(in.remote, firewall.installed->keep.front().remote);
  EXPECT_EQ(firewall::Mode::Shut, firewall.installed->mode);
}

TEST_F(LifecycleTest, WithoutAKillswitchNothingIsCutWhenCleaningUp) {
  sockets.open = {socket("192.168.1.2:40000", "203.0.113.1:443")};
  const auto cleaned = clean_up(doors(), {}, Leftovers::Remove);
  ASSERT_TRUE(cleaned.has_value());
  EXPECT_THAT(journal.lines, ElementsAre("remove all of ours", "nft remove"));
}

}  // namespace
}  // namespace proxyvpn::app
