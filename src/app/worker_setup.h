#pragma once
// How a worker is confined, the same for every command that has workers.
#include <functional>
#include <span>

#include "app/config.h"
#include "app/sandbox.h"
#include "app/worker_pool.h"

namespace proxyvpn::app {

// run_engine() in the sandbox with what `config` says of it, its log lines to `log_fd`, its memory
// bounded by what the memory budget and the number of descriptors can need. Where its sockets and
// proxies come from is for the caller to fill in. To be called in the process that forks the
// workers.
WorkerSetup worker_setup(const Config& config, const SandboxUser& user, int log_fd);

// The same for the process that answers --metrics, which accepts connections.
using EnterSandbox = std::function<Result<>(std::span<const int> keep)>;
EnterSandbox metrics_sandbox(const SandboxUser& user);

// No core dump and no debugger: memory holds the password. Except under AddressSanitizer, whose
// leak check attaches to its own process.
void forbid_core_dumps();

}  // namespace proxyvpn::app
