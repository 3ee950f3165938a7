#include "app/worker_setup.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

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

WorkerSetup worker_setup(const SandboxUser& user, int log_fd) {
  WorkerSetup setup;
  setup.log_fd = log_fd;
  setup.run = [](EngineConfig config) { return run_engine(std::move(config)); };
  setup.enter_sandbox = [user, parent = ::getpid()](std::span<const int> keep) {
    std::vector<int> all(keep.begin(), keep.end());
#ifdef PROXYVPN_ADDRESS_SANITIZER
    all.push_back(STDERR_FILENO);  // its reports
#endif
    SandboxOptions options;
    options.keep = all;
    options.user = user;
    options.parent = parent;
    return enter_sandbox(options);
  };
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
