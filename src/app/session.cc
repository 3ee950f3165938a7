#include "app/session.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <optional>
#include <utility>

#include "app/capabilities.h"
#include "app/detach.h"
#include "app/engine.h"
#include "app/host_facts.h"
#include "app/host_tools.h"
#include "app/notify.h"
#include "app/plan.h"
#include "app/sandbox.h"
#include "app/signals.h"
#include "app/state_dir.h"
#include "app/supervisor.h"
#include "base/log.h"

namespace proxyvpn::app {
namespace {

int give_up(Launcher& launcher, const std::string& reason) {
  launcher.complain("proxyvpn: error: " + reason);
  static_cast<void>(launcher.decide(1));
  return 1;
}

// The directory and its lock, or neither: the killswitch's table has an owner too, so that a second
// daemon is noticed without any file.
struct Place {
  std::optional<StateDir> directory;
  std::optional<InstanceLock> lock;
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
    launcher.complain("proxyvpn: warning: " + error.message +
                      "; going on without: `proxyvpn down` will have to find this process itself");
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
  place.directory = std::move(*directory);
  place.lock = std::move(*lock);
  return place;
}

void leave_place(Place& place, const Config& config) {
  if (!place.directory) return;
  // Errors: a file that stays matters to nobody.
  static_cast<void>(place.directory->remove_file(kLockName));
  if (!config.keep_logs) {
    static_cast<void>(place.directory->remove_file(kLogName));
    static_cast<void>(place.directory->remove_file(kOldLogName));
  }
  place.directory->remove_if_made();
}

unsigned cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? static_cast<unsigned>(count) : 1;
}

// As many descriptors as we may have: the supervisor makes sockets for all workers.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

WorkerSetup worker_setup() {
  WorkerSetup setup;
  setup.log_fd = STDERR_FILENO;
  setup.run = [](EngineConfig config) { return run_engine(std::move(config)); };
  setup.enter_sandbox = [user = find_sandbox_user(),
                         parent = ::getpid()](std::span<const int> keep) {
    SandboxOptions options;
    options.keep = keep;
    options.user = user;
    options.parent = parent;
    return enter_sandbox(options);
  };
  return setup;
}

}  // namespace

int run_up(Config config, const std::vector<std::string>& warnings) {
  Launcher launcher;
  if (config.detach) {
    std::optional<int> exit_code;
    auto made = Launcher::detach(exit_code);
    if (!made) return give_up(launcher, made.error().message);
    if (exit_code) return *exit_code;
    launcher = std::move(*made);
  }
  for (const auto& warning : warnings) launcher.complain("proxyvpn: warning: " + warning);
  auto signals = Signals::open({SIGTERM, SIGINT, SIGHUP, SIGCHLD});
  if (!signals) return give_up(launcher, signals.error().message);
  const Notifier notifier = Notifier::from_environment();
  raise_descriptor_limit();

  auto facts = std::make_shared<HostFacts>(read_host_facts(config));
  auto place = take_place(config, launcher);
  if (!place) return give_up(launcher, place.error().message);
  auto tools = HostTools::open(config.backend);
  if (!tools) return give_up(launcher, tools.error().message);
  auto reactor = event::Reactor::open();
  if (!reactor) return give_up(launcher, reactor.error().message);

  Session session;
  session.config = config;
  session.proxies = proxy_endpoints(config, {});
  session.workers = worker_setup();
  const unsigned workers = worker_count(config, cores());
  session.plan = build_plan(config, *facts, session.proxies, workers);
  session.replan = [facts, config, workers,
                    &tools](const std::vector<Endpoint>& proxies) -> Result<HostPlan> {
    refresh(*facts, *tools->routing);
    if (facts->network_error) return tl::unexpected(*facts->network_error);
    return build_plan(config, *facts, proxies, workers);
  };
  int exit_code = 1;
  {
    Supervisor supervisor(*reactor, *signals, *tools, std::move(session),
                          place->directory ? &*place->directory : nullptr, launcher, notifier);
    supervisor.open_control();
    exit_code = supervisor.run();
  }
  leave_place(*place, config);
  return exit_code;
}

}  // namespace proxyvpn::app
