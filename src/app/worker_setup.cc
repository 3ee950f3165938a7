#include "app/worker_setup.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "app/engine.h"
#include "base/sanitizers.h"

namespace proxyvpn::app {
namespace {

// More than a worker takes when all of its bounds are reached: buffers within the budget, and what
// each connection has beside it. A worker that wants more is broken and ends; the machine does not.
std::uint64_t data_limit([[maybe_unused]] std::uint64_t memory_budget) {
#ifdef PROXYVPN_ADDRESS_SANITIZER
  return 0;  // its shadow memory is data too, terabytes of it
#else
  constexpr std::uint64_t kItself = std::uint64_t{512} << 20;
  constexpr std::uint64_t kConnection = std::uint64_t{256} << 10;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return 0;
  const auto connections = std::min<std::uint64_t>(files.rlim_max, std::uint64_t{1} << 20);
  return kItself + 2 * memory_budget + connections * kConnection;
#endif
}

SandboxOptions child_of_ours(const SandboxUser& user, std::uint64_t memory_budget) {
  SandboxOptions options;
  options.user = user;
  options.parent = ::getpid();
  options.data_limit = data_limit(memory_budget);
  return options;
}

EnterSandbox sandbox(SandboxOptions options) {
  return [options](std::span<const int> keep) mutable {
    std::vector<int> all(keep.begin(), keep.end());
#ifdef PROXYVPN_ADDRESS_SANITIZER
    all.push_back(STDERR_FILENO);  // its reports
#endif
    options.keep = all;
    return enter_sandbox(options);
  };
}

}  // namespace

EnterSandbox metrics_sandbox(const SandboxUser& user) {
  SandboxOptions options = child_of_ours(user, 0);
  options.raise_descriptor_limit = false;
  options.serves = true;
  return sandbox(options);
}

WorkerSetup worker_setup(const Config& config, const SandboxUser& user, int log_fd) {
  WorkerSetup setup;
  setup.log_fd = log_fd;
  setup.run = [](EngineConfig engine) { return run_engine(std::move(engine)); };
  setup.enter_sandbox = sandbox(child_of_ours(user, config.memory_budget));
  setup.engine.credentials = config.proxy.credentials;
  setup.engine.connect_timeout = config.connect_timeout;
  setup.engine.preconnect = config.preconnect;
  setup.engine.fast_open = config.fast_open;
  setup.engine.memory_budget = config.memory_budget;
  setup.engine.verbose = config.verbose;
  return setup;
}

void forbid_core_dumps() {
  const rlimit none{};
  static_cast<void>(::setrlimit(RLIMIT_CORE, &none));
#ifndef PROXYVPN_ADDRESS_SANITIZER
  ::prctl(PR_SET_DUMPABLE, 0);
#endif
}

}  // namespace proxyvpn::app
