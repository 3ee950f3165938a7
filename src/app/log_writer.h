#pragma once
// A process that writes log lines, so that nobody else ever waits for a slow terminal, a full disk
// or a stopped reader. Everybody writes into a pipe that never blocks (base/log counts what does
// not fit); the writer reads it, gives each record (base/log_record.h) its form, and uses blocking
// writes.
#include <sys/types.h>

#include <functional>

#include "app/log_render.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {

class LogWriter {
 public:
  // Forks the writer. It writes to `output` (not owned), holds no other descriptor and no
  // privilege, and ignores the signals of a terminal, so that the last lines of a run that Ctrl-C
  // ended are still written. When its parent dies, it writes what is there and ends.
  // What cannot be given to the journal goes to `output` as text.
  // `forget` is called in the writer first: what it need not know (passwords) goes from its memory.
  static Result<LogWriter> start(int output = 2, const LogStyle& style = {},
                                 const std::function<void()>& forget = {});
  LogWriter(LogWriter&& other) noexcept;
  LogWriter& operator=(LogWriter&& other) noexcept;
  // finish() with a second.
  ~LogWriter();

  // The end to write to, non-blocking and close-on-exec: for
  // log::set_record_output() here and in children. Lines that are no records are written as they
  // are.
  [[nodiscard]] int fd() const noexcept { return pipe_.get(); }

  // No line comes any more from here. Waits until the writer has written what is in the pipe, at
  // most `patience`, also when another process still holds the other end; then it is ended. Call
  // log::set_output() with another descriptor before. True: everything was written.
  bool finish(Duration patience) noexcept;

 private:
  LogWriter(UniqueFd pipe, pid_t child) : pipe_(std::move(pipe)), child_(child) {}
  UniqueFd pipe_;
  pid_t child_ = 0;
};

}  // namespace proxyvpn::app
