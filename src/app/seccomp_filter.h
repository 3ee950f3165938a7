#pragma once
// The system calls of a worker (seccomp(2)): a list of what is allowed, each with its reason; any
// other call ends the process with SIGSYS.
#include <span>
#include <string_view>

#include "base/error.h"

namespace proxyvpn::app {

struct AllowedCall {
  int number = -1;  // SCMP_SYS()
  std::string_view name;
  std::string_view reason;
};

// The list as it is for this build. Sanitizers need more calls for their own work (reading maps,
// signal stacks); those builds get them too and nothing else.
std::span<const AllowedCall> allowed_calls();

// Calls that are allowed with some arguments only: mmap without PROT_EXEC, reading
// this process's own limits; ioctl not at all. Installs the filter for this process; it stays until
// the process ends. no_new_privs must be set. Code::Unsupported on kernels without seccomp filters.
// `serves`: accept4(2) too, for a process that has a listener.
Result<> install_filter(bool serves = false);

}  // namespace proxyvpn::app
