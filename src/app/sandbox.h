#pragma once
// What a child process gives up before it touches anything from the network.
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"

namespace proxyvpn::app {

// Whom a child of root becomes: the user `proxyvpn` when there is one, else `nobody`, else 65534.
// Looked up (NSS) by the parent before it forks.
struct SandboxUser {
  uid_t uid = 65534;
  gid_t gid = 65534;
  std::string name = "65534";
};
SandboxUser find_sandbox_user();

struct SandboxOptions {
  std::span<const int> keep;  // descriptors that stay open; 0, 1 and 2 too must be named to stay
  SandboxUser user{};         // used only when we are root
  bool become_other_user = true;  // false: stays who it is, without any capability
  pid_t parent = 0;  // when not 0: die with it (SIGKILL); gone already: an error is the answer
  bool raise_descriptor_limit = true;  // RLIMIT_NOFILE to its hard limit
  std::uint64_t data_limit = 0;        // bytes, RLIMIT_DATA; 0: as it is. Never above what is set
  // The seccomp allow-list of seccomp_filter.h. Off for the resolver, whose libraries (NSS) may do
  // anything; it has no descriptor that matters.
  bool filter = true;
  bool serves = false;  // the filter allows accept4(2) too
};

// In this order: parent's death, descriptors (0, 1 and 2 become /dev/null unless kept, so that no
// socket ever gets their number), limits (no core dump; the kernel kills us before our parent when
// memory runs out, as far as we may say so), another user and no supplementary groups
// when root, no capabilities, no_new_privs, not dumpable, the filter. All or an error; after an
// error the process must end (_exit). Works in a process with one thread, and without privileges.
Result<> enter_sandbox(const SandboxOptions& options);

// Closes every descriptor but these, which need not be sorted. Part of enter_sandbox().
Result<> close_all_but(std::span<const int> keep);

// Asks for SIGKILL when `parent` ends (prctl(2) PR_SET_PDEATHSIG); an error when it has ended
// already. Part of enter_sandbox(). Must come after a change of user, which clears the setting.
Result<> die_with(pid_t parent);

}  // namespace proxyvpn::app
