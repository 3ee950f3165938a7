#pragma once
// The group of processes that `exec --direct` puts a command into: a cgroup (v2) of a fixed name
// right below the root, so that `down` finds it without a note. It belongs to root, and only root
// may add to it: a group that others can write to would be a way out for everybody.
#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "firewall/policy.h"

namespace proxyvpn::app {

inline constexpr char kDirectGroup[] = "proxyvpn-direct";

struct DirectGroup {
  firewall::DirectCgroup cgroup;
  std::string path;  // of its directory
  // Moves a process into it; its children will be born there.
  [[nodiscard]] Result<> add(pid_t process) const;
};

// Makes it, or takes the one that is there when it is root's alone. Unsupported: no cgroup v2 is
// mounted. Permission: this process may not make groups there, or others may write to it.
Result<DirectGroup> open_direct_group();
// Moves whoever is still in it to the root and removes it. Success when there is none.
Result<> remove_direct_group();

}  // namespace proxyvpn::app
