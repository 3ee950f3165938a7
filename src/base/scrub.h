#pragma once
#include <malloc.h>

#include <cstring>

namespace proxyvpn {

// On at the start of every program that links this: what operator delete gives back is overwritten
// first. The command line, the environment and configuration files pass through libraries that copy
// passwords where nobody can wipe them, and a forked process would inherit the copies. To be turned
// off where much memory comes and goes and the password must be known anyway: in a worker.
void scrub_freed_memory(bool on) noexcept;

// Zeroes the whole of what malloc gave for `memory`, which may be more than what was asked for: a
// compiler that sees the allocation too would take that for an overflow, and _FORTIFY_SOURCE would
// abort, so it must not know where the pointer comes from. malloc_usable_size(3)
inline void overwrite_allocation(void* memory) noexcept {
  __asm__ volatile("" : "+r"(memory));
  ::explicit_bzero(memory, ::malloc_usable_size(memory));
}

}  // namespace proxyvpn
