#include "app/worker_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/flow_dump.h"

namespace proxyvpn::app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A data plane of a few lines: says Ready, does what the byte in its "TUN" tells, ends on Stop.
struct Script {
  bool crash = false;
  bool garbage = false;
  bool deaf = false;
  unsigned sockets = 0;
};

void wait_readable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  ::poll(&waiting, 1, -1);
}

// One flow; and then the file may be made no larger.
void write_table(std::uint64_t id, const DumpFlows& dump, const std::vector<UniqueFd>& files) {
  FlowRecord flow;
  flow.id = id;
  std::vector<std::uint8_t> bytes;
  append_header(bytes, TimePoint(seconds(1)), 1, 1);
  append_record(bytes, flow);
  if (files.size() != 2 || dump.most < 1) return;
  const int file = files[0].get();
  const auto size = static_cast<off_t>(kFlowHeaderSize + dump.most * kFlowRecordSize);
  const bool grows = ::pwrite(file, "x", 1, size) == 1 || ::ftruncate(file, 1) == 0;
  if (!grows) (void)!::write(file, bytes.data(), bytes.size());
}

int play(const Script& script, EngineConfig config) {
  const int channel = config.channel.get();
  config.stats->flows_total.fetch_add(1);
  send_message(channel, encode(ToSupervisor(Ready{})));
  if (script.crash) {
    const stack::FlowKey flow{parse_endpoint("10.0.0.1:1000").value(),
                              parse_endpoint("203.0.113.80:443").value()};
    config.book->add(0, flow);
    config.book->add(1, flow);
    config.book->opened(1);
    ::raise(SIGKILL);
  }
  if (script.garbage) ::send(channel, "\xff\xff\xff", 3, 0);
  if (script.sockets != 0) {
    NeedSockets need{Family::V4, static_cast<std::uint8_t>(script.sockets)};
    send_message(channel, encode(ToSupervisor(need)));
  }
  for (;;) {
    wait_readable(channel);
    const auto received = receive_message(channel);
    if (received.status == Received::Status::Closed) return 0;
    if (script.deaf || received.status == Received::Status::Nothing) continue;
    const auto message = decode_to_worker(received.bytes);
    if (!message) return 3;
    if (std::holds_alternative<Stop>(*message)) return 0;
    if (const auto* kill = std::get_if<KillFlow>(&*message)) {
      if (kill->id == config.first_flow_id)
        send_message(channel, encode(ToSupervisor(ProxyBack{})));
    }
    if (const auto* dump = std::get_if<DumpFlows>(&*message)) {
      write_table(config.first_flow_id, *dump, received.descriptors);
    }
    if (const auto* sockets = std::get_if<Sockets>(&*message)) {
      // What came is told by a word that the pool passes on.
      if (sockets->count == received.descriptors.size() && sockets->count == script.sockets) {
        send_message(channel, encode(ToSupervisor(ProxyBack{})));
      }
    }
    if (const auto* list = std::get_if<ProxyAddresses>(&*message)) {
      if (list->endpoints.size() == 2) send_message(channel, encode(ToSupervisor(Resolve{})));
    }
  }
}

class WorkerPoolTest : public ::testing::Test, public WorkerListener {
 protected:
  WorkerPoolTest() {
    tun.queues.emplace_back(::dup(2));
    setup.log_fd = 2;
    setup.run = [this](EngineConfig config) { return play(script, std::move(config)); };
    setup.make_sockets = [](Family, unsigned count) {
      std::vector<UniqueFd> sockets;
      for (unsigned i = 0; i < count; ++i) sockets.emplace_back(::dup(2));
      return sockets;
    };
  }
  void start() {
    pool = std::make_unique<WorkerPool>(reactor, std::move(setup), *this);
    ASSERT_TRUE(pool->start(tun, {parse_endpoint("192.0.2.1:80").value()}).has_value());
  }
  // Turns until `count` events came; bounded by time only when something is broken.
  void until(std::size_t count) {
    const TimePoint end = Clock::now() + seconds(20);
    while (events.size() < count && Clock::now() < end) {
      reactor.turn(milliseconds(5));
      pool->reap();
    }
  }
  void on_ready(unsigned) override { events.push_back("ready"); }
  void on_proxy_lost(unsigned, const ProxyLost&) override { events.push_back("lost"); }
  void on_proxy_back(unsigned) override { events.push_back("back"); }
  void on_resolve(unsigned) override { events.push_back("resolve"); }
  void on_flows_lost(const std::vector<stack::FlowKey>& flows) override { lost = flows; }
  void on_death(unsigned, const std::string& how, unsigned in_a_row, Duration) override {
    events.push_back("death " + std::to_string(in_a_row) + ": " + how);
    script = {};  // its successor behaves
  }
  void on_all_gone() override { events.push_back("gone"); }

  event::Reactor reactor = event::Reactor::open().value();
  tun::TunQueues tun;
  WorkerSetup setup;
  Script script;
  std::unique_ptr<WorkerPool> pool;
  std::vector<std::string> events;
  std::vector<stack::FlowKey> lost;
};

TEST_F(WorkerPoolTest, StartsAndStops) {
  start();
  until(1);
  EXPECT_EQ(1u, pool->running());
  EXPECT_EQ(1u, pool->totals().flows_total);
  pool->stop(seconds(10));
  until(2);
  EXPECT_THAT(events, ElementsAre("ready", "gone"));
  EXPECT_EQ(0u, pool->running());
}

TEST_F(WorkerPoolTest, ADeadWorkerIsFollowedByAnother) {
  script.crash = true;
  start();
  until(3);
  EXPECT_THAT(events, ElementsAre("ready", "death 1: was killed by SIGKILL", "ready"));
  EXPECT_EQ(1u, pool->running());
  EXPECT_EQ(2u, pool->totals().flows_total);  // the dead one counts
  ASSERT_EQ(1u, lost.size());                 // the one that was established
  EXPECT_EQ("203.0.113.80:443", to_string(lost.front().destination));
}

TEST_F(WorkerPoolTest, GarbageIsAnsweredWithDeath) {
  script.garbage = true;
  start();
  until(3);
  EXPECT_THAT(events, ElementsAre("ready", HasSubstr("SIGKILL"), "ready"));
}

TEST_F(WorkerPoolTest, SocketsComeInTheNumberAskedFor) {
  script.sockets = 32;
  start();
  until(2);
  EXPECT_THAT(events, ElementsAre("ready", "back"));
}

TEST_F(WorkerPoolTest, NewAddressesReachTheWorker) {
  start();
  until(1);
  pool->set_proxies({parse_endpoint("192.0.2.1:80").value(), parse_endpoint("[::1]:80").value()});
  until(2);
  EXPECT_THAT(events, ElementsAre("ready", "resolve"));
}

TEST_F(WorkerPoolTest, ADeafWorkerIsKilledAtTheStop) {
  script.deaf = true;
  start();
  until(1);
  pool->stop(milliseconds(1));
  until(2);
  EXPECT_THAT(events, ElementsAre("ready", "gone"));
}

TEST_F(WorkerPoolTest, AHungWorkerIsKilledByTicks) {
  start();
  until(1);
  for (unsigned i = 0; i <= BeatWatch::kPatience; ++i) pool->tick();
  until(3);
  EXPECT_THAT(events, ElementsAre("ready", HasSubstr("SIGKILL"), "ready"));
}

TEST_F(WorkerPoolTest, AWorkerThatMayNotBeConfinedDoesNotRun) {
  setup.enter_sandbox = [](std::span<const int>) -> Result<> {
    return fail(Code::Permission, "no");
  };
  start();
  until(1);
  EXPECT_THAT(events.front(), HasSubstr("ended with status 1"));
}

TEST_F(WorkerPoolTest, FlowsGoFromTheWorkerToTheReader) {
  start();
  until(1);
  const auto answer = pool->dump_flows();
  ASSERT_TRUE(answer.has_value());
  ASSERT_EQ(2u, answer->size());
  pollfd done{(*answer)[0].get(), POLLIN, 0};
  ASSERT_EQ(1, ::poll(&done, 1, 20'000));
  EXPECT_NE(0, done.revents & POLLHUP);
  std::vector<std::uint8_t> bytes(1 << 20);
  const ssize_t n = ::pread((*answer)[1].get(), bytes.data(), bytes.size(), 0);
  ASSERT_GT(n, 0);
  const auto dump = decode_flows(std::span(bytes).first(static_cast<std::size_t>(n)));
  ASSERT_TRUE(dump.has_value());
  ASSERT_EQ(1u, dump->flows.size());
  EXPECT_EQ("1.1", connect::flow_id_text(dump->flows[0].id));
}

TEST_F(WorkerPoolTest, AFlowIsKilledByTheWorkerThatHasIt) {
  start();
  until(1);
  EXPECT_EQ(Code::NotFound, pool->kill_flow(connect::first_flow_id(2)).error().code);
  ASSERT_TRUE(pool->kill_flow(connect::first_flow_id(1)).has_value());
  until(2);
  EXPECT_THAT(events, ElementsAre("ready", "back"));
}

}  // namespace
}  // namespace proxyvpn::app
