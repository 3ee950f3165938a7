#pragma once
// Becoming another program, as a shell tells of it.
#include <string>
#include <vector>

namespace proxyvpn::app {

// Exit statuses of `run` and `exec` besides the command's own.
inline constexpr int kExitNotStarted = 125;  // for a reason of ours
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNoCommand = 127;

// execvp(3). Returns only when that fails, with what was told on stderr and the exit status.
int execute(const std::vector<std::string>& command);

}  // namespace proxyvpn::app
