#include "app/worker_setup.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "app/engine.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PROXYVPN_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define PROXYVPN_ADDRESS_SANITIZER
#endif

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

}  // namespace

WorkerSetup worker_setup(const SandboxUser& user, int log_fd, std::uint64_t memory_budget) {
  WorkerSetup setup;
  setup.log_fd = log_fd;
  setup.run = [](EngineConfig config) { return run_engine(std::move(config)); };
  setup.enter_sandbox = [user, limit = data_limit(memory_budget),
                         parent = ::getpid()](std::span<const int> keep) {
    std::vector<int> all(keep.begin(), keep.end());
#ifdef PROXYVPN_ADDRESS_SANITIZER
    all.push_back(STDERR_FILENO);  // its reports
#endif
    SandboxOptions options;
    options.keep = all;
    options.user = user;
    options.parent = parent;
    options.data_limit = limit;
    return enter_sandbox(options);
  };
  return setup;
}

std::function<Result<>(std::span<const int> keep)> metrics_sandbox(const SandboxUser& user) {
  return [user, limit = data_limit(0), parent = ::getpid()](std::span<const int> keep) {
    std::vector<int> all(keep.begin(), keep.end());
#ifdef PROXYVPN_ADDRESS_SANITIZER
    all.push_back(STDERR_FILENO);  // its reports
#endif
    SandboxOptions options;
    options.keep = all;
    options.user = user;
    options.parent = parent;
    options.raise_descriptor_limit = false;
    options.data_limit = limit;
    options.serves = true;
    return enter_sandbox(options);
  };
}

void forbid_core_dumps() {
  const rlimit none{};
  static_cast<void>(::setrlimit(RLIMIT_CORE, &none));
#ifndef PROXYVPN_ADDRESS_SANITIZER
  ::prctl(PR_SET_DUMPABLE, 0);
#endif
}

}  // namespace proxyvpn::app
