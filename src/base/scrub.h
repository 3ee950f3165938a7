#pragma once

namespace proxyvpn {

// On at the start of every program that links this: what operator delete gives back is overwritten
// first. The command line, the environment and configuration files pass through libraries that copy
// passwords where nobody can wipe them, and a forked process would inherit the copies. To be turned
// off where much memory comes and goes and the password must be known anyway: in a worker.
void scrub_freed_memory(bool on) noexcept;

}  // namespace proxyvpn
