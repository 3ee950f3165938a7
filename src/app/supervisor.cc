#include "app/supervisor.h"

#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <ctime>
#include <utility>

#include "app/capabilities.h"
#include "app/direct_group.h"
#include "app/restart_policy.h"
#include "app/state_file.h"
#include "app/test_hooks.h"
#include "base/log_record.h"

namespace proxyvpn::app {
namespace {

constexpr seconds kWorkerPatience{2};  // to reset their flows and end
constexpr seconds kFinishTime{6};      // then the teardown goes on without them

std::string name_of(const Session& session) {
  const auto& proxy = session.config.proxy;
  const bool v6 = proxy.host.find(':') != std::string::npos;
  const std::string host = v6 ? "[" + proxy.host + "]" : proxy.host;
  return host + ":" + std::to_string(proxy.port);
}

std::string signal_name(int signal) {
  const char* const name = ::sigabbrev_np(signal);
  return name ? "SIG" + std::string(name) : "signal " + std::to_string(signal);
}

}  // namespace

Supervisor::Supervisor(event::Reactor& reactor, Signals& signals, HostTools& tools, Session session,
                       StateDir* directory, Launcher& launcher, const Notifier& notifier)
    : reactor_(reactor),
      signals_(signals),
      tools_(tools),
      session_(std::move(session)),
      directory_(directory),
      launcher_(launcher),
      notifier_(notifier),
      health_(name_of(session_), session_.config.killswitch,
              session_.config.proxy.credentials.has_value()),
      lifecycle_(tools.doors(), session_.plan,
                 {[this](int, std::string_view name) { note_step(name); },
                  [this](int number, std::string_view name) { return after(number, name); },
                  [this](const std::string& sentence) { warn(sentence); }}),
      proxy_sockets_(session_.config.source_addresses),
      pool_(reactor, std::move(session_.workers), *this),
      reader_(reactor),
      signal_handler_([this](std::uint32_t) { on_signal(); }),
      network_handler_([this](std::uint32_t) { on_network(); }),
      firewall_handler_([this](std::uint32_t) { look_after_firewall(); }),
      tick_([this] { on_tick(); }),
      start_deadline_([this] {
        fail_start("the data plane did not get ready within " + std::to_string(kReadyTime.count()) +
                   " s");
      }),
      network_timer_([this] { look_after_network(); }),
      resolve_timer_([this] { begin_resolve(); }),
      finish_timer_([this] {
        pool_.kill_all();
        finish();
      }),
      watchdog_([this] { feed_watchdog(); }),
      cut_timer_([this] { cut_lost_flows(); }) {
  pool_.set_socket_maker(
      [this](Family family, unsigned count) { return make_sockets(family, count); });
}

Supervisor::~Supervisor() {
  reactor_.remove(signals_.fd(), signal_handler_);
  if (monitor_) reactor_.remove(monitor_->fd(), network_handler_);
  if (firewall_watched_) reactor_.remove(tools_.firewall->monitor_fd(), firewall_handler_);
}

void Supervisor::open_control() {
  if (auto beacon = Beacon::open(reactor_)) beacon_ = std::move(*beacon);
  if (!directory_) return;
  Access access;
  access.owner = ::getuid();
  access.group = install_group();
  auto control = ControlServer::open(
      reactor_, *directory_, access,
      [this](const Request& request, const Peer& peer) { return answer(request, peer); });
  if (!control) {
    warn("no control socket, only a signal ends this run: " + control.error().message);
    return;
  }
  control_ = std::move(*control);
}

int Supervisor::run() {
  started_ = std::time(nullptr);
  if (!reactor_.add(signals_.fd(), EPOLLIN, signal_handler_)) {
    launcher_.complain(log::Level::Error, "signals can't be watched (epoll_ctl)");
    return 1;
  }
  tick_.arm(reactor_.timers(), reactor_.now() + seconds(1));
  note_step("starting");
  feed_watchdog();
  if (session_.metrics) {
    auto& setup = *session_.metrics;
    setup.status = [this] { return full_status(); };
    setup.forget = [this, more = std::move(setup.forget)] {
      wipe_secrets(session_.config, session_.options, session_.sources);
      pool_.forget_credentials();
      if (more) more();
    };
    metrics_ = std::make_unique<MetricsPort>(reactor_, std::move(setup));
  }
  start();
  while (phase_ != Phase::Done) {
    if (reactor_.turn()) continue;
    // Nothing can be heard any more: what is left to do is to leave the machine clean.
    log::error("epoll_wait failed");
    exit_code_ = 1;
    pool_.kill_all();
    finish();
  }
  return exit_code_;
}

// During the start a person listens, afterwards the log does.
void Supervisor::warn(const std::string& sentence) {
  if (committed_) return log::warning(sentence);
  launcher_.complain(log::Level::Warning, sentence);
}

// Until the start is decided the launcher has the terminal, then whoever writes the log.
void Supervisor::show_progress(std::string_view text) {
  if (launcher_.detached() && !committed_) return launcher_.progress(text);
  log::progress(text);
}

void Supervisor::note_step(std::string_view step) {
  if (phase_ == Phase::Starting) {
    show_progress("starting: " + std::string(step));
    log::debug("starting", {{"step", step}});
  }
  if (!directory_) return;
  StateFile state;
  state.pid = ::getpid();
  state.started = started_;
  state.step = step;
  state.tun_name = session_.config.tun_name;
  state.proxy = connect::redacted(session_.config.proxy);
  state.made_directory = directory_->made_by_us();
  const auto written = directory_->write_file(kStateName, to_text(state));
  if (!written && !note_failure_told_) {
    note_failure_told_ = true;
    warn("no state file, nothing depends on it: " + written.error().message);
  }
}

// A request to end that came during the synchronous part of the start is answered between steps.
Result<> Supervisor::after(int number, std::string_view name) {
  if (auto hook = after_step(number, name); !hook) return hook;
  while (const auto signal = signals_.next()) {
    if (*signal == SIGINT || *signal == SIGTERM || (*signal == SIGHUP && hangup_ends())) {
      return fail(Code::System, "stopped by " + signal_name(*signal));
    }
  }
  return {};
}

void Supervisor::start() {
  if (auto hook = after_step(0, "nothing"); !hook) return fail_start(hook.error().message);
  if (auto up = lifecycle_.up(); !up) return fail_start(up.error().message);
  if (lifecycle_.adopted()) {
    log::info("a killswitch that was already in force was taken over without a gap");
  }
  watch();
  note_step("workers");
  pool_.set_try_proxy(waits_for_proxy());
  start_deadline_.arm(reactor_.timers(), reactor_.now() + kReadyTime);
  if (auto started = pool_.start(lifecycle_.tun(), session_.proxies); !started) {
    return fail_start(started.error().message);
  }
  if (auto hook = after(Lifecycle::step_count() + 1, "workers"); !hook) {
    return fail_start(hook.error().message);
  }
}

void Supervisor::feed_watchdog() {
  const auto interval = notifier_.watchdog_interval();
  if (!interval) return;
  notifier_.alive();
  watchdog_.arm(reactor_.timers(), Clock::now() + *interval);
}

void Supervisor::became_ready() {
  phase_ = Phase::Up;
  pool_.set_try_proxy(false);
  start_deadline_.cancel();
  lifecycle_.commit();
  committed_ = true;
  show_progress("");
  note_step("up");
  announce();
  notifier_.ready("Up: " + connect::redacted(session_.config.proxy));
  if (!launcher_.decide(0)) stop("whoever started it did not wait for it");
}

void Supervisor::fail_start(const std::string& reason) {
  if (phase_ == Phase::Stopping || phase_ == Phase::Done) return;
  launcher_.complain(log::Level::Error, reason);
  if (lifecycle_.adopted()) {
    launcher_.complain(
        log::Level::Info,
        lifecycle_.was_locked()
            ? "the machine stays shut, as it was found: `proxyvpn unlock` opens it"
            : "the machine stays shut, as a crashed run left it: `proxyvpn down` opens it");
  }
  stop(reason);
}

void Supervisor::stop(const std::string& why) {
  if (phase_ == Phase::Stopping || phase_ == Phase::Done) return;
  phase_ = Phase::Stopping;
  exit_code_ = committed_ ? 0 : 1;
  start_deadline_.cancel();
  resolve_timer_.cancel();
  network_timer_.cancel();
  if (committed_) log::info("going down", {{"reason", why}});
  const auto open = pool_.totals().flows_open;
  show_progress("going down: " + std::to_string(open) +
                (open == 1 ? " open connection ends" : " open connections end"));
  notifier_.stopping("Going down");
  note_step("down");
  lifecycle_.cut_off();
  pool_.stop(kWorkerPatience);
  finish_timer_.arm(reactor_.timers(), Clock::now() + kFinishTime);
}

void Supervisor::finish() {
  if (phase_ == Phase::Done) return;
  phase_ = Phase::Done;
  finish_timer_.cancel();
  show_progress("going down: taking back rules and routes");
  metrics_.reset();
  const auto down = lifecycle_.down();
  if (lifecycle_.plan().policy.direct_cgroup) {
    static_cast<void>(remove_direct_group());  // an empty group too many hurts nobody
  }
  show_progress("");
  const bool shut = committed_ ? lifecycle_.plan().persist_killswitch : lifecycle_.adopted();
  if (!down) {
    exit_code_ = 1;
    log::error("something could not be taken back", {{"what", down.error().message}});
  } else if (committed_) {
    log::info(shut ? "down; the machine stays shut (--persist-killswitch), `proxyvpn unlock` "
                     "opens it"
                   : "down: everything is as before");
  }
  if (directory_ && !session_.config.keep_logs) {
    static_cast<void>(directory_->remove_file(kStateName));  // a hint, no more
  }
  if (control_) {
    control_->finish(down ? (shut ? "done shut\n" : "done open\n")
                          : error_reply(down.error().message));
  }
  control_.reset();
  static_cast<void>(launcher_.decide(exit_code_));
}

// Who waits for --detach is told whether traffic flows. A terminal sees it come later, and a
// service that starts before its proxy must stay shut and go on trying.
bool Supervisor::waits_for_proxy() const noexcept {
  return launcher_.detached() && !notifier_.active();
}

bool Supervisor::hangup_ends() const noexcept {
  // A lost terminal ends what runs in it. A daemon has none; there the signal means "reload".
  return !launcher_.detached() && !notifier_.active();
}

void Supervisor::on_signal() {
  while (const auto signal = signals_.next()) {
    if (*signal == SIGCHLD) {
      pool_.reap();
      if (metrics_) metrics_->reap();
    } else if (*signal == SIGHUP && !hangup_ends()) {
      if (const auto problem = begin_reload(); !problem.empty()) {
        log::warning("SIGHUP: the configuration is not read again", {{"reason", problem}});
      }
    } else if (committed_) {
      stop(signal_name(*signal));
    } else {
      fail_start("stopped by " + signal_name(*signal));
    }
  }
}

}  // namespace proxyvpn::app
