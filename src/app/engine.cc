#include "app/engine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "app/flow_dump.h"
#include "app/socket_pool.h"
#include "app/worker_protocol.h"
#include "base/log_record.h"
#include "connect/trial.h"
#include "connect/tunnel_table.h"
#include "event/reactor.h"
#include "names/datagram_port.h"
#include "names/stand_in_answerer.h"
#include "names/stream_port.h"
#include "stack/lwip_stack.h"
#include "tun/tun_device.h"

namespace proxyvpn::app {
namespace {

constexpr seconds kBeat{1};
constexpr milliseconds kSocketRetry{200};
// Descriptors that are not tunnels: TUN, channel, epoll, log, a stock of sockets, some air.
constexpr std::size_t kReservedDescriptors = 200;

std::size_t most_tunnels() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
  const auto files = static_cast<std::size_t>(limit.rlim_cur);
  return files > 2 * kReservedDescriptors ? files - kReservedDescriptors : files / 2;
}

connect::TunnelOptions tunnel_options(const EngineConfig& config) {
  connect::TunnelOptions options;
  options.connect_timeout = config.connect_timeout;
  options.max_tunnels = most_tunnels();
  options.verbose = config.verbose;
  options.preconnect = config.preconnect;
  options.fast_open = config.fast_open;
  options.first_id = config.first_flow_id;
  options.book = config.book;
  return options;
}

stack::StackLimits stack_limits(const EngineConfig& config) {
  stack::StackLimits limits;
  limits.memory_budget = config.memory_budget;
  return limits;
}

// What answers DNS questions out of the TUN, and stands between the stack and the tunnels for it.
struct Names {
  Names(const NamesConfig& config, event::Reactor& reactor, tun::PacketIo& tun,
        connect::TunnelTable& tunnels)
      : stand_ins(config.stand_ins, config.stand_in_count),
        answerer(stand_ins),
        datagrams(tun, answerer, config.servers),
        streams(reactor, tunnels, answerer, config.servers) {
    tunnels.set_namer([this](const IpAddress& address) { return stand_ins.name_of(address); });
  }

  names::StandIns stand_ins;
  names::StandInAnswerer answerer;
  names::DatagramPort datagrams;
  names::StreamPort streams;
};

class Engine {
 public:
  Engine(EngineConfig config, event::Reactor reactor);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  int run() noexcept;

 private:
  bool send(const ToSupervisor& message) noexcept;
  void on_channel() noexcept;
  void handle(Received received) noexcept;
  void on_tun() noexcept;
  void end_of_turn() noexcept;
  void beat() noexcept;
  void dump_flows(const DumpFlows& dump, const std::vector<UniqueFd>& descriptors) noexcept;
  void publish() noexcept;
  void tried(connect::TrialResult result) noexcept;
  void proxy_lost(connect::Trouble trouble, int status, int err) noexcept;

  // Member order is lifetime order: the reactor outlives all, tunnels go before the stack's
  // sockets.
  EngineConfig config_;
  event::Reactor reactor_;
  tun::TunDevice tun_;
  SocketPool sockets_;
  std::unique_ptr<connect::TunnelTable> tunnels_;
  std::unique_ptr<Names> names_;  // null: names are nobody's business here
  std::unique_ptr<stack::LwipStack> stack_;
  std::optional<connect::Trial> trial_;
  event::FunctionHandler tun_handler_;
  event::FunctionHandler channel_handler_;
  event::Timer beat_timer_;
  event::Timer socket_timer_;
  bool more_packets_ = false;
  int status_ = 0;
};

Engine::Engine(EngineConfig config, event::Reactor reactor)
    : config_(std::move(config)),
      reactor_(std::move(reactor)),
      tun_(std::move(config_.tun), config_.offloads),
      sockets_([this](const NeedSockets& need) { return send(need); }),
      tun_handler_([this](std::uint32_t) { on_tun(); }),
      channel_handler_([this](std::uint32_t) { on_channel(); }),
      beat_timer_([this] { beat(); }),
      socket_timer_([this] {
        sockets_.retry();
        tunnels_->sockets_available();
      }) {
  connect::ProxyEvents events;
  events.lost = [this](connect::Trouble t, int status, int err) { proxy_lost(t, status, err); };
  events.back = [this] { send(ProxyBack{}); };
  events.resolve = [this] { send(Resolve{}); };
  tunnels_ = std::make_unique<connect::TunnelTable>(reactor_, sockets_, config_.proxies,
                                                    config_.credentials, tunnel_options(config_),
                                                    std::move(events));
  if (!config_.names.servers.empty()) {
    names_ = std::make_unique<Names>(config_.names, reactor_, tun_, *tunnels_);
  }
  stack::FlowAcceptor* acceptor = tunnels_.get();
  if (names_) acceptor = &names_->streams;
  stack_ =
      std::make_unique<stack::LwipStack>(tun_, *acceptor, reactor_.timers(), stack_limits(config_));
  if (names_) stack_->set_other_packets(&names_->datagrams);
}

Engine::~Engine() {
  tunnels_->stop_all();
  if (names_) names_->streams.stop_all();
  stack_->abort_all();
}

int Engine::run() noexcept {
  if (!reactor_.add(tun_.fd(), EPOLLIN, tun_handler_) ||
      !reactor_.add(config_.channel.get(), EPOLLIN, channel_handler_)) {
    log::error("worker cannot watch its descriptors", {{"errno", errno}});
    return 1;
  }
  reactor_.set_end_of_turn([this] { end_of_turn(); });
  for (const auto& proxy : config_.proxies) sockets_.want(proxy.address.family());
  sockets_.refill();
  if (config_.try_proxy) {
    trial_.emplace(*tunnels_, reactor_, [this](connect::TrialResult result) { tried(result); });
    trial_->start();
  } else {
    send(Ready{});
  }
  beat();
  if (!reactor_.run()) {
    log::error("worker cannot wait for events", {{"errno", errno}});
    status_ = 1;
  }
  return status_;
}

bool Engine::send(const ToSupervisor& message) noexcept {
  return send_message(config_.channel.get(), encode(message));
}

void Engine::on_tun() noexcept { more_packets_ = stack_->drain(); }

void Engine::end_of_turn() noexcept {
  stack_->flush();
  tunnels_->end_of_turn();
  if (names_) names_->streams.end_of_turn();
  stack_->flush();
  tunnels_->go_on();
  sockets_.refill();
  if (sockets_.starved() && !socket_timer_.armed()) {
    socket_timer_.arm(reactor_.timers(), reactor_.now() + kSocketRetry);
  }
  if (config_.stats != nullptr) publish();
}

void Engine::on_channel() noexcept {
  for (;;) {
    Received received = receive_message(config_.channel.get());
    if (received.status == Received::Status::Nothing) return;
    if (received.status == Received::Status::Closed) {
      reactor_.stop();
      return;
    }
    handle(std::move(received));
  }
}

void Engine::handle(Received received) noexcept {
  const auto message = decode_to_worker(received.bytes);
  if (!message) {
    log::error("worker got a message that it does not understand",
               {{"bytes", received.bytes.size()}});
    return;
  }
  if (const auto* sockets = std::get_if<Sockets>(&*message)) {
    sockets_.put(sockets->family, std::move(received.descriptors));
    tunnels_->sockets_available();
  } else if (const auto* addresses = std::get_if<ProxyAddresses>(&*message)) {
    tunnels_->set_proxies(addresses->endpoints);
  } else if (const auto* verbose = std::get_if<SetVerbose>(&*message)) {
    tunnels_->set_verbose(verbose->verbose);
  } else if (const auto* options = std::get_if<SetOptions>(&*message)) {
    tunnels_->set_limits(milliseconds(options->connect_timeout_ms), options->preconnect);
    log::set_level(options->log_level);
  } else if (auto* known = std::get_if<SetCredentials>(&*message)) {
    std::optional<connect::Credentials> credentials;
    if (known->given) credentials = connect::Credentials{known->username, known->password};
    tunnels_->set_credentials(std::move(credentials));
    wipe(reinterpret_cast<char*>(received.bytes.data()), received.bytes.size());
  } else if (const auto* kill = std::get_if<KillFlow>(&*message)) {
    tunnels_->kill(kill->id);
  } else if (const auto* dump = std::get_if<DumpFlows>(&*message)) {
    dump_flows(*dump, received.descriptors);
  } else if (std::holds_alternative<Stop>(*message)) {
    reactor_.stop();
  }
}

// The file's size is fixed and its pages are memory, so that writing never waits. The second
// descriptor is only held: its end says that the table is complete.
void Engine::dump_flows(const DumpFlows& dump, const std::vector<UniqueFd>& descriptors) noexcept {
  if (descriptors.size() != 2) return;
  const std::uint64_t count = std::min<std::uint64_t>(tunnels_->size(), dump.most);
  std::vector<std::uint8_t> bytes;
  bytes.reserve(kFlowHeaderSize + count * kFlowRecordSize);
  append_header(bytes, reactor_.now(), tunnels_->size(), count);
  std::uint64_t written = 0;
  tunnels_->for_each([&](const connect::FlowInfo& flow) {
    if (written++ < count) append_record(bytes, to_record(flow, reactor_.now()));
  });
  if (::write(descriptors[0].get(), bytes.data(), bytes.size()) !=
      static_cast<ssize_t>(bytes.size())) {
    log::debug("the table of flows can't be written", {{"errno", errno}});
  }
}

// A failure has been told as ProxyLost; the supervisor decides what becomes of the start.
void Engine::tried(connect::TrialResult result) noexcept {
  if (result == connect::TrialResult::Failed) return;
  if (result == connect::TrialResult::Unanswered) {
    log::warning("the proxy takes connections, but has not answered a first request yet");
  }
  send(Ready{});
}

void Engine::proxy_lost(connect::Trouble trouble, int status, int err) noexcept {
  ProxyLost lost;
  lost.trouble = static_cast<Trouble>(trouble);  // the same numbers, see the assertions below
  lost.status = static_cast<std::uint16_t>(status);
  lost.sys_errno = static_cast<std::uint16_t>(err);
  send(lost);
}

static_assert(static_cast<int>(Trouble::Unreachable) ==
              static_cast<int>(connect::Trouble::Unreachable));
static_assert(static_cast<int>(Trouble::Authentication) ==
              static_cast<int>(connect::Trouble::Authentication));
static_assert(static_cast<int>(Trouble::NotHttp) == static_cast<int>(connect::Trouble::NotHttp));
static_assert(static_cast<int>(Trouble::Closed) == static_cast<int>(connect::Trouble::Closed));
static_assert(static_cast<int>(Trouble::Slow) == static_cast<int>(connect::Trouble::Slow));
static_assert(static_cast<int>(Trouble::Loop) == static_cast<int>(connect::Trouble::Loop));

void Engine::beat() noexcept {
  send(Beat{});
  log::flush_suppressed();
  sockets_.trim();
  stack_->trim();
  beat_timer_.arm(reactor_.timers(), reactor_.now() + kBeat);
}

void Engine::publish() noexcept {
  const auto put = [](std::atomic<std::uint64_t>& to, std::uint64_t value) {
    to.store(value, std::memory_order_relaxed);
  };
  auto& stats = *config_.stats;
  const auto& tunnels = tunnels_->counters();
  const auto& packets = stack_->counters();
  put(stats.flows_open, tunnels_->size());
  put(stats.flows_total, tunnels.total);
  put(stats.refused_by_proxy, tunnels.refused_by_proxy);
  put(stats.refused_proxy_lost, tunnels.refused_proxy_lost);
  put(stats.refused_limit, tunnels.dropped_at_limit);
  put(stats.timeouts, tunnels.timeouts);
  put(stats.resets, tunnels.resets);
  put(stats.bytes_up, tunnels.bytes_up);
  put(stats.bytes_down, tunnels.bytes_down);
  put(stats.packets_in, packets.packets_in);
  put(stats.packets_out, packets.packets_out);
  put(stats.packets_bad, packets.packets_bad);
  put(stats.buffer_bytes, stack_->buffered_bytes());
  const auto& in_use = tunnels_->proxy_in_use();
  put(stats.proxy_in_use, in_use ? std::hash<IpAddress>()(*in_use) : 0);
  const auto& health = tunnels_->health();
  const auto retry = std::chrono::nanoseconds(health.retry_at().time_since_epoch()).count();
  put(stats.retry_at, health.lost() ? static_cast<std::uint64_t>(retry) : 0);
  put(stats.turns, stats.turns.load(std::memory_order_relaxed) + 1);
}

}  // namespace

int run_engine(EngineConfig config) noexcept {
  auto reactor = event::Reactor::open();
  if (!reactor) {
    log::error("worker cannot start", {{"why", reactor.error().message}});
    return 1;
  }
  Engine engine(std::move(config), std::move(*reactor));
  return engine.run();
}

}  // namespace proxyvpn::app
