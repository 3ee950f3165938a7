#include "app/session.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "app/capabilities.h"
#include "app/decide.h"
#include "app/detach.h"
#include "app/dry_run.h"
#include "app/host_tools.h"
#include "app/notify.h"
#include "app/plan.h"
#include "app/resolver.h"
#include "app/run_log.h"
#include "app/sandbox.h"
#include "app/signals.h"
#include "app/state_dir.h"
#include "app/state_file.h"
#include "app/supervisor.h"
#include "app/worker_setup.h"
#include "base/log_record.h"

namespace proxyvpn::app {
namespace {

int give_up(Launcher& launcher, const std::string& reason) {
  launcher.complain(log::Level::Error, reason);
  static_cast<void>(launcher.decide(1));
  return 1;
}

// The directory and its lock, or neither: the killswitch's table has an owner too, so that a second
// daemon is noticed without any file.
struct Place {
  std::optional<StateDir> directory;
  std::optional<InstanceLock> lock;
  [[nodiscard]] StateDir* get() { return directory ? &*directory : nullptr; }
};

Result<StateDir> open_directory(const Config& config) {
  auto directory = StateDir::open_or_make(config.state_dir);
  if (directory || config.state_dir_given) return directory;
  const auto own = user_state_dir(::geteuid());
  return own ? StateDir::open_or_make(*own) : std::move(directory);
}

Result<Place> take_place(const Config& config, Launcher& launcher) {
  Place place;
  const auto warn = [&](const Error& error) {
    launcher.complain(
        log::Level::Warning,
        error.message +
            "; going on without a control socket, so that `proxyvpn status` does not work");
  };
  auto directory = open_directory(config);
  if (!directory) {
    warn(directory.error());
    return place;
  }
  auto lock = InstanceLock::take(*directory);
  if (!lock && lock.error().code == Code::Busy) return tl::unexpected(lock.error());
  if (!lock) {
    warn(lock.error());
    return place;
  }
  // A crashed run's note: an empty directory too many is all that can come of a wrong one.
  const auto note = directory->read_file(kStateName, kMaxStateFile);
  const auto state = note ? parse_state(*note) : Result<StateFile>{};
  if (state && state->made_directory) directory->inherit();
  place.directory = std::move(*directory);
  place.lock = std::move(*lock);
  return place;
}

void leave_place(Place& place, bool keep_log) {
  if (!place.directory) return;
  // Errors: a file that stays matters to nobody.
  static_cast<void>(place.directory->remove_file(kLockName));
  if (!keep_log) {
    static_cast<void>(place.directory->remove_file(kLogName));
    static_cast<void>(place.directory->remove_file(kOldLogName));
  }
  place.directory->remove_if_made();
}

// As many descriptors as we may have, for the sockets of all workers.
void set_limits() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
  }
  forbid_core_dumps();
}

// What stays the same for the whole run and is referred to from callbacks.
struct Run {
  Config config;
  Sources sources;
  EffectiveOptions options;
  SandboxUser user;
  Decision decision;
  HostTools tools;
  event::Reactor reactor;
  BackgroundResolver resolver{reactor};
};

// For a child that need not know how the proxy is told who we are.
void forget_secrets(Run& run) { wipe_secrets(run.config, run.options, run.sources); }

MetricsPort::Setup metrics_setup(Run& run, UniqueFd listener) {
  MetricsPort::Setup setup;
  setup.listener = std::move(listener);
  setup.forget = [&run] { forget_secrets(run); };
  setup.enter_sandbox = metrics_sandbox(run.user);
  return setup;
}

// Changes when a file does that says whom this machine asks for names (a network manager replaces
// or rewrites it some time after the addresses have changed).
std::string resolver_stamp() {
  const dns::ResolverPaths paths;
  std::string stamp;
  for (const std::string& path : {paths.resolv_conf, paths.systemd_upstreams}) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) info = {};
    for (const auto part : {static_cast<std::int64_t>(info.st_ino), info.st_mtim.tv_sec,
                            info.st_mtim.tv_nsec, static_cast<std::int64_t>(info.st_size)}) {
      stamp += std::to_string(part) + " ";
    }
  }
  return stamp;
}

Session make_session(Run& run, RunLog& log) {
  Session session;
  session.config = run.config;
  session.sources = std::move(run.sources);
  session.options = std::move(run.options);
  session.plan = run.decision.plan;
  session.proxies = run.decision.proxies;
  session.workers = worker_setup(run.config, run.user, log.fd());
  session.on_tick = [&log] {
    log.trim();
    log::flush_suppressed();
  };
  session.resolvers_changed = [stamp = resolver_stamp()]() mutable {
    std::string now = resolver_stamp();
    const bool changed = now != stamp;
    stamp = std::move(now);
    return changed;
  };
  session.replan = [&run](const Config& config,
                          const std::vector<Endpoint>& proxies) -> Result<HostPlan> {
    refresh(*run.decision.facts, *run.tools.routing);
    if (run.decision.facts->network_error) {
      return tl::unexpected(*run.decision.facts->network_error);
    }
    return build_plan(config, *run.decision.facts, proxies, run.decision.workers);
  };
  const bool has_name =
      run.config.proxy_ips.empty() && !IpAddress::parse(run.config.proxy.host).has_value();
  if (!has_name) return session;
  session.resolve = [&run](std::function<void(Result<std::vector<Endpoint>>)> done) {
    return run.resolver.start(run.config.proxy.host, run.user, kResolveTimeout,
                              [&run, done = std::move(done)](Result<Addresses> found) {
                                if (!found) return done(tl::unexpected(found.error()));
                                done(proxy_endpoints(run.config, *found));
                              });
  };
  return session;
}

int supervise(Run& run, Place& place, Signals& signals, Launcher& launcher,
              const Notifier& notifier, bool& keep_log) {
  UniqueFd metrics;
  if (run.config.metrics) {
    auto listener = listen_for_metrics(*run.config.metrics);
    if (!listener) return give_up(launcher, listener.error().message);
    metrics = std::move(*listener);
  }
  const auto forget = [&run] { forget_secrets(run); };
  auto log = launcher.detached() ? RunLog::to_file(place.get(), run.config.log_format, forget)
                                 : RunLog::to_terminal(run.config.log_format, forget);
  if (!log) return give_up(launcher, log.error().message);
  // From here on our own stderr is for the last words of a crash.
  if (launcher.detached()) log->take_over(STDERR_FILENO);
  log::set_record_output(log->fd());
  log::set_level(run.config.log_level);
  int exit_code = 1;
  {
    Session session = make_session(run, *log);
    if (metrics) session.metrics = metrics_setup(run, std::move(metrics));
    Supervisor supervisor(run.reactor, signals, run.tools, std::move(session), place.get(),
                          launcher, notifier);
    supervisor.open_control();
    // From here on no file has to be given away: what is not needed any more goes.
    auto kept = keep_supervisor_capabilities();
    exit_code = kept ? supervisor.run() : give_up(launcher, kept.error().message);
  }
  log->finish();
  keep_log = run.config.keep_logs || (exit_code != 0 && log->has_lines());
  return exit_code;
}

int print_dry_run(const Config& config, Launcher& launcher, const Complain& complain) {
  const auto decision = decide(config, find_sandbox_user(), nullptr, complain);
  if (!decision) return give_up(launcher, decision.error().message);
  std::fputs(dry_run_text(config, decision->plan, decision->proxies, read_sockets()).c_str(),
             stdout);
  return 0;
}

}  // namespace

int run_up(UpCommand command, const std::vector<std::string>& warnings) {
  const Config& config = command.config;
  Launcher launcher{EarlyLog(config.log_format)};
  if (config.detach && !config.dry_run) {
    std::optional<int> exit_code;
    auto made = Launcher::detach(EarlyLog(config.log_format), exit_code);
    if (!made) return give_up(launcher, made.error().message);
    if (exit_code) return *exit_code;
    launcher = std::move(*made);
  }
  const auto complain = [&launcher](log::Level level, const std::string& sentence) {
    launcher.complain(level, sentence);
  };
  for (const auto& warning : warnings) complain(log::Level::Warning, warning);
  if (config.dry_run) return print_dry_run(config, launcher, complain);
  auto signals = Signals::open({SIGTERM, SIGINT, SIGHUP, SIGCHLD});
  if (!signals) return give_up(launcher, signals.error().message);
  const Notifier notifier = Notifier::from_environment();
  set_limits();
  const SandboxUser user = find_sandbox_user();

  // Before the lock is taken: reading who holds it would drop it.
  auto decision = decide(config, user, &*signals, complain,
                         [&](const std::string& text) { launcher.progress(text); });
  if (!decision) return give_up(launcher, decision.error().message);
  auto place = take_place(config, launcher);
  if (!place) return give_up(launcher, place.error().message);
  bool keep_log = false;
  const int exit_code = [&] {
    auto tools = HostTools::open(config.backend);
    if (!tools) return give_up(launcher, tools.error().message);
    auto reactor = event::Reactor::open();
    if (!reactor) return give_up(launcher, reactor.error().message);
    Run run{std::move(command.config), std::move(command.sources), std::move(command.options), user,
            std::move(*decision),      std::move(*tools),          std::move(*reactor)};
    return supervise(run, *place, *signals, launcher, notifier, keep_log);
  }();
  leave_place(*place, keep_log);
  return exit_code;
}

}  // namespace proxyvpn::app
