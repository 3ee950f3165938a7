#pragma once
// How a worker is confined, the same for every command that has workers.
#include <cstdint>
#include <functional>
#include <span>

#include "app/sandbox.h"
#include "app/worker_pool.h"

namespace proxyvpn::app {

// run_engine() in the sandbox, its log lines to `log_fd`, its memory bounded by what
// `memory_budget` (bytes) and the number of descriptors can need. What it works with is for the
// caller to fill in. To be called in the process that forks the workers.
WorkerSetup worker_setup(const SandboxUser& user, int log_fd, std::uint64_t memory_budget);

// The same for the process that answers --metrics, which accepts connections.
std::function<Result<>(std::span<const int> keep)> metrics_sandbox(const SandboxUser& user);

// No core dump and no debugger: memory holds the password. Except under AddressSanitizer, whose
// leak check attaches to its own process.
void forbid_core_dumps();

}  // namespace proxyvpn::app
