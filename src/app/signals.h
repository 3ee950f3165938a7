#pragma once
// Signals as something to read (signalfd(2)). They are blocked from here on; children unblock them.
#include <signal.h>

#include <initializer_list>
#include <optional>

#include "base/error.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {

class Signals {
 public:
  // Blocks `signals` in this thread and opens a descriptor for them; ignores SIGPIPE.
  static Result<Signals> open(std::initializer_list<int> signals);
  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }
  // The next one that came; several of the same number come as one. Never waits.
  [[nodiscard]] std::optional<int> next() const noexcept;

 private:
  explicit Signals(UniqueFd descriptor) : descriptor_(std::move(descriptor)) {}
  UniqueFd descriptor_;
};

}  // namespace proxyvpn::app
