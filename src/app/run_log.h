#pragma once
// Where log lines go: a writer of its own for the terminal or the journal, or a bounded file of the
// state directory for a daemon without either.
#include <optional>

#include "app/log_writer.h"
#include "app/state_dir.h"
#include "base/error.h"

namespace proxyvpn::app {

class RunLog {
 public:
  static constexpr std::uint64_t kLargestFile = 1 << 20;  // then it becomes the old one

  // `forget`: see LogWriter::start().
  using Forget = std::function<void()>;
  // To stderr, or where its surroundings say.
  static Result<RunLog> to_terminal(LogFormat format, const Forget& forget = {});
  // To kLogName in `directory` (which outlives it), or nowhere without one; with LogFormat::Journal
  // to the journal.
  static Result<RunLog> to_file(const StateDir* directory, LogFormat format, const Forget& forget);

  // For log::set_record_output() in this process and its children.
  [[nodiscard]] int fd() const noexcept { return writer_.fd(); }
  // Makes `descriptor` lead into the file too.
  void take_over(int descriptor) const noexcept;
  // Moves a file that has grown too long aside. To be called now and then.
  void trim() noexcept;
  // True when there is a file and something is in it.
  [[nodiscard]] bool has_lines() const noexcept;
  // Sends this process's lines to stderr again and waits a moment for what is in the pipe.
  void finish() noexcept;

 private:
  RunLog(LogWriter writer, UniqueFd file, const StateDir* directory)
      : writer_(std::move(writer)), file_(std::move(file)), directory_(directory) {}
  LogWriter writer_;
  UniqueFd file_;
  const StateDir* directory_ = nullptr;
};

}  // namespace proxyvpn::app
