#pragma once
// Signals of a process that stands in for a command: what is sent to it is meant for the command.
//
// Both are in one process group, so what a terminal sends (Ctrl-C, Ctrl-Z, a new window size)
// reaches the command by itself; only what somebody sends to this process alone is passed on.
#include <signal.h>
#include <sys/types.h>

#include <array>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {

class SignalRelay {
 public:
  // Blocks the signals that are passed on, and SIGCHLD, and opens a descriptor for them. SIGPIPE is
  // ignored.
  static Result<SignalRelay> open();
  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }
  // In the child: mask and dispositions as this process had found them.
  void restore() const noexcept;

  struct Next {
    int number = 0;      // 0: none waits
    bool relay = false;  // the command has not got it
  };
  // `command`: its process. Never waits.
  [[nodiscard]] Next next(pid_t command) const noexcept;

 private:
  SignalRelay() = default;
  struct Before {
    int number;
    struct sigaction action;
  };
  UniqueFd descriptor_;
  sigset_t mask_{};
  std::vector<Before> before_;
};

}  // namespace proxyvpn::app
