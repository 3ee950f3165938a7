#include "app/run_session.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "app/capabilities.h"
#include "app/exec_command.h"
#include "app/plan.h"
#include "app/private_network.h"
#include "app/proxy_health.h"
#include "app/resolver.h"
#include "app/restart_policy.h"
#include "app/run_log.h"
#include "app/sandbox.h"
#include "app/signal_relay.h"
#include "app/worker_pool.h"
#include "app/worker_setup.h"
#include "base/log_record.h"
#include "connect/proxy_sockets.h"

namespace proxyvpn::app {
namespace {

constexpr seconds kDrainTime{1};        // for what the command has sent last
constexpr milliseconds kDrainStep{5};   // between two looks at the connections left
constexpr milliseconds kStopTime{500};  // for a worker to end by itself
constexpr std::uint8_t kGo = 'g';

void print_message(const std::string& sentence) {
  std::fprintf(stderr, "proxyvpn: %s\n", sentence.c_str());
}

PrivateNetwork private_network() {
  PrivateNetwork network;
  // No search list: every name has an address here, so the first of the list would always win; what
  // a short name means is for the proxy to say.
  network.resolv_conf = "# proxyvpn run: names are the proxy's business\nnameserver " +
                        to_string(network.addresses.dns_v4) + "\noptions edns0\n";
  return network;
}

Result<std::vector<Endpoint>> find_proxies(const Config& config, const SandboxUser& user) {
  Addresses addresses;
  if (config.proxy_ips.empty()) {
    auto found = resolve_now(config.proxy.host, user);
    if (!found) return tl::unexpected(found.error());
    addresses = std::move(*found);
  }
  auto proxies = proxy_endpoints(config, addresses);
  if (!proxies.empty()) return proxies;
  return fail(Code::NotFound, "the proxy " + config.proxy.host + " has no address");
}

// The command's side of the fork --------------------------------------------------------------

// Blocks until the outside says that packets are carried.
bool wait_for_go(int channel) {
  std::uint8_t word = 0;
  ssize_t n = 0;
  do {
    n = ::recv(channel, &word, 1, 0);
  } while (n < 0 && errno == EINTR);
  return n == 1 && word == kGo;
}

[[noreturn]] void become_command(const std::vector<std::string>& command, UniqueFd channel,
                                 pid_t outside, const SignalRelay& signals) {
  if (auto entered = enter_private_network(private_network(), channel.get()); !entered) {
    print_message("error: " + entered.error().message);
    ::_exit(kExitNotStarted);
  }
  if (!wait_for_go(channel.get())) ::_exit(kExitNotStarted);
  channel.reset();
  // Without the outside there is no network any more; SIGTERM, so that it may put things in order.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  if (::getppid() != outside) ::_exit(kExitNotStarted);
  ::unsetenv("PROXYVPN_PROXY_URL");
  signals.restore();
  ::_exit(execute(command));
}

// This process ----------------------------------------------------------------------------------

class RunSession final : private WorkerListener {
 public:
  RunSession(event::Reactor& reactor, const SignalRelay& signals, Config config, SandboxUser user,
             WorkerSetup setup)
      : reactor_(reactor),
        signals_(signals),
        config_(std::move(config)),
        user_(std::move(user)),
        resolver_(reactor),
        health_(connect::redacted(config_.proxy), false, config_.proxy.credentials.has_value()),
        pool_(reactor, std::move(setup), *this),
        signal_handler_([this](std::uint32_t) { on_signal(); }),
        tick_([this] { on_tick(); }),
        resolve_timer_([this] { begin_resolve(); }) {}
  ~RunSession() override { reactor_.remove(signals_.fd(), signal_handler_); }

  // The command's exit status. `command` waits for a word on `channel` before it starts.
  int run(pid_t command, UniqueFd channel, const tun::TunQueues& tun,
          std::vector<Endpoint> proxies) {
    command_ = command;
    channel_ = std::move(channel);
    started_ = Clock::now();
    if (!reactor_.add(signals_.fd(), EPOLLIN, signal_handler_)) {
      return give_up("signals can't be watched (epoll_ctl)");
    }
    tick_.arm(reactor_.timers(), started_ + seconds(1));
    if (auto started = pool_.start(tun, std::move(proxies)); !started) {
      return give_up(started.error().message);
    }
    on_signal();  // the command may have ended already
    while (!status_) {
      if (!reactor_.turn()) return give_up("epoll_wait failed");
    }
    end_connections();
    return *status_;
  }

 private:
  // What the command has sent goes on after its end, as it would from the kernel. What is still
  // open behind that belongs to processes that it left behind, or to a server that does not close:
  // reset.
  void end_connections() {
    const TimePoint until = reactor_.now() + kDrainTime;
    while (pool_.totals().flows_open > 0 && reactor_.now() < until) {
      if (!reactor_.turn(kDrainStep)) break;
    }
    pool_.stop(kStopTime);
    while (!gone_ && reactor_.turn()) {
    }
  }

  int give_up(const std::string& reason) {
    log::error(reason);
    ::kill(command_, SIGKILL);
    return kExitNotStarted;
  }
  void fail_start(const std::string& reason) { status_ = give_up(reason); }

  void on_tick() {
    pool_.tick();
    tick_.arm(reactor_.timers(), reactor_.now() + seconds(1));
    if (channel_ && reactor_.now() > started_ + kReadyTime) {
      fail_start("the data plane did not get ready within " + std::to_string(kReadyTime.count()) +
                 " s");
    }
  }

  void on_signal() {
    for (;;) {
      const auto next = signals_.next(command_);
      if (next.number == 0) break;
      if (next.relay) ::kill(command_, next.number);
    }
    pool_.reap();
    look_after_command();
  }

  // Ends with it, stops with it: a shell that waits for us sees what it would see of the command.
  void look_after_command() {
    int status = 0;
    while (!status_ && ::waitpid(command_, &status, WNOHANG | WUNTRACED | WCONTINUED) > 0) {
      if (WIFEXITED(status)) status_ = WEXITSTATUS(status);
      if (WIFSIGNALED(status)) status_ = 128 + WTERMSIG(status);
      if (WIFSTOPPED(status)) {
        ::kill(::getpid(), SIGSTOP);
        // Somebody has continued us; the terminal's shell continues the whole group, others do not.
        ::kill(command_, SIGCONT);
      }
    }
  }

  void on_ready(unsigned) override {
    if (!channel_) return;
    if (::send(channel_.get(), &kGo, 1, MSG_NOSIGNAL) != 1) log::debug("the command has gone");
    channel_.reset();
  }
  void on_proxy_lost(unsigned worker, const ProxyLost& message) override {
    if (const auto sentence = health_.lost(worker, message, reactor_.now()))
      log::warning(*sentence);
  }
  void on_proxy_back(unsigned worker) override {
    if (const auto sentence = health_.back(worker, reactor_.now())) log::warning(*sentence);
  }
  void on_death(unsigned worker, const std::string& how, unsigned in_a_row,
                Duration /*delay*/) override {
    health_.forget(worker);
    if (channel_ && in_a_row >= kStartAttempts) {
      return fail_start("the data plane does not run: its process " + how);
    }
    log::error("a worker " + how + "; its connections end, another one takes over");
  }
  void on_all_gone() override { gone_ = true; }

  // The proxy's name may lead elsewhere by now.
  void on_resolve(unsigned) override {
    if (!config_.proxy_ips.empty() || resolve_timer_.armed()) return;
    resolve_timer_.arm(reactor_.timers(), std::max(reactor_.now(), last_resolve_ + kResolvePause));
  }
  void begin_resolve() {
    last_resolve_ = reactor_.now();
    // Busy: an answer is on its way.
    static_cast<void>(resolver_.start(config_.proxy.host, user_, kResolveTimeout,
                                      [this](const Result<Addresses>& found) {
                                        if (!found || found->empty()) return;
                                        pool_.set_proxies(proxy_endpoints(config_, *found));
                                      }));
  }

  event::Reactor& reactor_;
  const SignalRelay& signals_;
  Config config_;
  SandboxUser user_;
  BackgroundResolver resolver_;
  ProxyHealth health_;
  WorkerPool pool_;
  event::FunctionHandler signal_handler_;
  event::Timer tick_;
  event::Timer resolve_timer_;
  TimePoint started_{};
  TimePoint last_resolve_{};
  pid_t command_ = 0;
  UniqueFd channel_;  // until the command may start
  std::optional<int> status_;
  bool gone_ = false;  // every worker has ended
};

std::vector<UniqueFd> make_sockets(connect::ProxySockets& maker, Family family, unsigned count) {
  std::vector<UniqueFd> sockets;
  while (sockets.size() < count) {
    UniqueFd socket = maker.make(family);
    if (!socket) break;  // the worker asks again, or uses the other family
    sockets.push_back(std::move(socket));
  }
  return sockets;
}

WorkerSetup make_setup(const Config& config, const SandboxUser& user, int log_fd) {
  const PrivateAddresses addresses;
  WorkerSetup setup = worker_setup(config, user, log_fd);
  setup.make_sockets = [maker = connect::ProxySockets(config.source_addresses)](
                           Family family, unsigned count) mutable {
    return make_sockets(maker, family, count);
  };
  setup.engine.names = {{addresses.dns_v4}, addresses.stand_ins, addresses.stand_in_count};
  return setup;
}

// What this process needs no more. Not for the command, which gets what the person has.
Result<> settle_down() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
  }
  forbid_core_dumps();
  return ::geteuid() == 0 ? keep_supervisor_capabilities() : Result<>{};
}

int report(const std::string& reason) {
  print_message("error: " + reason);
  return kExitNotStarted;
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : kExitNotStarted;
}

int supervise(Config config, const SandboxUser& user, std::vector<Endpoint> proxies,
              const SignalRelay& signals, pid_t command, UniqueFd channel) {
  auto outlet = welcome(command, channel.get());
  if (!outlet) {
    channel.reset();  // it ends, if it has not yet
    const int status = wait_for(command);
    // NotFound: it has ended and has said why.
    return outlet.error().code == Code::NotFound ? status : report(outlet.error().message);
  }
  tun::TunQueues tun;
  tun.offloads = outlet->offloads;
  tun.queues.push_back(std::move(outlet->tun));
  if (auto settled = settle_down(); !settled) return report(settled.error().message);
  auto log = RunLog::to_terminal(LogFormat::Auto);
  if (!log) return report(log.error().message);
  auto reactor = event::Reactor::open();
  if (!reactor) return report(reactor.error().message);
  log::set_record_output(log->fd());
  log::set_level(config.verbose ? log::Level::Debug : log::Level::Warning);
  int status = kExitNotStarted;
  {
    WorkerSetup setup = make_setup(config, user, log->fd());
    RunSession session(*reactor, signals, std::move(config), user, std::move(setup));
    status = session.run(command, std::move(channel), tun, std::move(proxies));
  }
  log->finish();
  return status;
}

}  // namespace

int run_in_private_network(RunRequest request) {
  for (const auto& warning : request.warnings) print_message("warning: " + warning);
  // An installed binary may carry CAP_NET_ADMIN: this needs nothing.
  if (::geteuid() != 0) {
    if (auto dropped = keep_only({}); !dropped) return report(dropped.error().message);
  }
  const SandboxUser user = find_sandbox_user();
  auto proxies = find_proxies(request.config, user);
  if (!proxies) return report(proxies.error().message);
  auto signals = SignalRelay::open();
  if (!signals) return report(signals.error().message);
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return report(std::string("making a socketpair: ") + std::strerror(errno));
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t outside = ::getpid();
  const pid_t command = ::fork();
  if (command < 0) return report(std::string("fork: ") + std::strerror(errno));
  if (command == 0) {
    ours.reset();
    request.config = {};  // the password is none of its business
    become_command(request.command, std::move(theirs), outside, *signals);
  }
  theirs.reset();
  return supervise(std::move(request.config), user, std::move(*proxies), *signals, command,
                   std::move(ours));
}

}  // namespace proxyvpn::app
