#include "app/run_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "base/log.h"

namespace proxyvpn::app {
namespace {

constexpr seconds kLastWords{1};

std::uint64_t size_of(int file) {
  struct stat info {};
  if (file < 0 || ::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  return static_cast<std::uint64_t>(info.st_size);
}

UniqueFd open_in(const StateDir& directory, const char* name, int flags) {
  return UniqueFd(::openat(directory.fd(), name, flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640));
}

}  // namespace

Result<RunLog> RunLog::to_terminal(LogFormat format, const Forget& forget) {
  auto writer =
      LogWriter::start(STDERR_FILENO, decide_style(format, look_around(STDERR_FILENO)), forget);
  if (!writer) return tl::unexpected(writer.error());
  return RunLog(std::move(*writer), UniqueFd(), nullptr);
}

Result<RunLog> RunLog::to_file(const StateDir* directory, LogFormat format, const Forget& forget) {
  UniqueFd file;
  if (directory) {
    // A log of a run before is not ours to go on with: who reads it wants this run.
    static_cast<void>(directory->remove_file(kLogName));
    file = open_in(*directory, kLogName, O_RDWR | O_APPEND | O_EXCL);
  }
  if (!file) file = UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  auto writer = LogWriter::start(file.get(), decide_style(format, {}), forget);
  if (!writer) return tl::unexpected(writer.error());
  return RunLog(std::move(*writer), std::move(file), directory);
}

void RunLog::take_over(int descriptor) const noexcept {
  if (file_) ::dup2(file_.get(), descriptor);
}

void RunLog::trim() noexcept {
  if (!directory_ || size_of(file_.get()) <= kLargestFile) return;
  // The writer keeps its descriptor, so the content moves and the file stays. Lines that come
  // between the two calls are lost.
  const UniqueFd old = open_in(*directory_, kOldLogName, O_WRONLY | O_TRUNC);
  off_t from = 0;
  while (old && ::copy_file_range(file_.get(), &from, old.get(), nullptr, kLargestFile, 0) > 0) {
  }
  // Also when the copy failed (a full disk): the log must not grow.
  [[maybe_unused]] const int rc = ::ftruncate(file_.get(), 0);
}

bool RunLog::has_lines() const noexcept { return size_of(file_.get()) != 0; }

void RunLog::finish() noexcept {
  log::set_output(STDERR_FILENO);
  static_cast<void>(writer_.finish(kLastWords));
}

}  // namespace proxyvpn::app
