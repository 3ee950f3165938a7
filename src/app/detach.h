#pragma once
// --detach: the program goes on in a session of its own, and the caller's terminal is given back
// once traffic flows, or with the reason why it does not.
#include <sys/types.h>

#include <optional>
#include <string_view>
#include <utility>

#include "app/early_log.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {

// The daemon's line to the person who started it, until the start is decided.
class Launcher {
 public:
  // In the foreground: lines go to our own stdout and stderr, decide() does nothing.
  explicit Launcher(EarlyLog form = EarlyLog()) : form_(std::move(form)) {}
  // Forks. In the parent this waits until the daemon has decided, prints what it said, and answers
  // the exit code, when that is not 0 only once the daemon has ended; SIGINT and SIGTERM are passed
  // on to the daemon. In the daemon (a new session,
  // stdin from /dev/null, working directory /) it answers nothing and the object leads to the
  // parent.
  static Result<Launcher> detach(EarlyLog form, std::optional<int>& parents_exit_code);

  [[nodiscard]] bool detached() const noexcept { return detached_; }
  // A whole line for a person, without the newline.
  void say(std::string_view line) noexcept;
  // A line of the log while there is none.
  void complain(log::Level level, std::string_view sentence) noexcept;
  // What the person waits for, on a line of a terminal that goes again with the next one; empty:
  // gone. Nothing where there is no terminal.
  void progress(std::string_view text) noexcept;
  // The start is decided: the parent ends with this code. After it nothing more can be said. False:
  // the parent is gone before it heard.
  bool decide(int exit_code) noexcept;

 private:
  bool send(char kind, std::string_view text) noexcept;
  EarlyLog form_;
  bool detached_ = false;
  UniqueFd pipe_;
};

}  // namespace proxyvpn::app
