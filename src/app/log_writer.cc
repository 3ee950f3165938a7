#include "app/log_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/capabilities.h"
#include "app/journal_socket.h"
#include "app/sandbox.h"

namespace proxyvpn::app {
namespace {

// "Write what is there and end." Not SIGTERM: a service manager sends that to every process of a
// unit, and the supervisor has yet to say how its teardown went.
constexpr int kDrainSignal = SIGUSR1;
// Room for a burst; the kernel gives as much to anybody (pipe(7), /proc/sys/fs/pipe-max-size).
constexpr int kPipeBytes = 1 << 20;

volatile sig_atomic_t drain = 0;
void on_drain(int /*signal*/) { drain = 1; }

// False: nobody reads it any more (EPIPE, EIO of a terminal that is gone) or it is full for good.
bool write_all(int output, const char* data, std::size_t size) noexcept {
  while (size > 0) {
    const auto n = ::write(output, data, size);
    if (n > 0) {
      data += n;
      size -= static_cast<std::size_t>(n);
    } else if (n < 0 && errno == EAGAIN) {
      // Somebody made the terminal non-blocking: it is shared with other programs.
      pollfd item{output, POLLOUT, 0};
      if (::poll(&item, 1, -1) < 0 && errno != EINTR) return false;
    } else if (n < 0 && errno != EINTR) {
      return false;
    }
  }
  return true;
}

// Gives lines their form and writes them.
class Printer {
 public:
  Printer(int output, const JournalSocket& journal, const LogStyle& style)
      : output_(output), journal_(journal), style_(style) {}

  // Bytes as they come from the pipe; what is no whole line yet waits for the rest of it.
  void take(std::string_view bytes) {
    rest_ += bytes;
    std::string text;
    const bool shown = !progress_.empty();
    std::size_t begin = 0;
    for (auto end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n', begin)) {
      append(text, std::string_view(rest_).substr(begin, end - begin));
      begin = end + 1;
    }
    rest_.erase(0, begin);
    if (rest_.size() > kLongestLine) append(text, std::exchange(rest_, {}));
    // The line that says what is waited for gives way, and comes back below.
    if (shown) text.insert(0, kTakeBack);
    if (!progress_.empty()) text += (shown ? "" : kTakeBack) + ("proxyvpn: " + progress_);
    // What cannot be written is dropped: whoever wrote it must not notice.
    write_all(output_, text.data(), text.size());
  }
  void end() {
    if (!rest_.empty()) take("\n");
    if (!std::exchange(progress_, {}).empty())
      write_all(output_, kTakeBack, std::strlen(kTakeBack));
  }

 private:
  static constexpr std::size_t kLongestLine = 8192;  // ours are shorter
  static constexpr const char* kTakeBack = "\r\x1b[K";

  void append(std::string& text, std::string_view line) {
    const auto record = log::decode(line);
    if (record && record->progress) {
      if (style_.progress) progress_ = record->event.substr(0, 70);  // of 80 columns
      return;
    }
    if (!record) {
      text += line;
    } else if (style_.format == LogFormat::Json) {
      text += json_line(*record);
    } else if (style_.format == LogFormat::Journal && journal_.send(journal_datagram(*record))) {
      return;
    } else {
      text += log::text_line(*record, style_.colour);
    }
    text += '\n';
  }

  int output_;
  const JournalSocket& journal_;
  const LogStyle& style_;
  std::string rest_;
  std::string progress_;
};

// Until the end of the pipe, or until it is empty after the signal.
void copy(int input, Printer& printer, const sigset_t& while_waiting) {
  std::array<char, std::size_t{64} * 1024> buffer{};
  for (;;) {
    const auto n = ::read(input, buffer.data(), buffer.size());
    if (n == 0) return;
    if (n > 0) {
      printer.take({buffer.data(), static_cast<std::size_t>(n)});
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN || drain != 0) return;
    pollfd item{input, POLLIN, 0};
    // The signal is let in only here, so that none is missed between the look and the wait.
    (void)::ppoll(&item, 1, nullptr, &while_waiting);
  }
}

[[noreturn]] void run_writer(int input, int output, const LogStyle& style, pid_t parent) {
  ::prctl(PR_SET_NAME, "proxyvpn-log");
  sigset_t only_drain;
  ::sigemptyset(&only_drain);
  ::sigaddset(&only_drain, kDrainSignal);
  ::sigprocmask(SIG_SETMASK, &only_drain, nullptr);
  struct sigaction action {};
  action.sa_handler = on_drain;
  ::sigaction(kDrainSignal, &action, nullptr);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTOU, SIGPIPE}) {
    ::signal(signal, SIG_IGN);
  }
  const JournalSocket journal =
      style.format == LogFormat::Journal ? JournalSocket(style.journal_socket) : JournalSocket();
  SandboxOptions options;
  std::vector<int> keep = {input, output};
  if (journal.fd() >= 0) keep.push_back(journal.fd());
  options.keep = keep;
  options.parent = 0;  // not SIGKILL: the last lines shall be written
  options.raise_descriptor_limit = false;
  options.become_other_user = false;  // the terminal belongs to the user who started us
  options.filter = false;
  if (!enter_sandbox(options)) ::_exit(1);
  ::prctl(PR_SET_PDEATHSIG, kDrainSignal, 0, 0, 0);
  if (::getppid() != parent) drain = 1;
  sigset_t none;
  ::sigemptyset(&none);
  Printer printer(output, journal, style);
  copy(input, printer, none);
  printer.end();
  ::_exit(0);
}

}  // namespace

Result<LogWriter> LogWriter::start(int output, const LogStyle& style,
                                   const std::function<void()>& forget) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return fail_errno(errno, "making the pipe for log lines");
  }
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  // A smaller pipe works as well.
  (void)::fcntl(writer.get(), F_SETPIPE_SZ, kPipeBytes);
  const pid_t parent = ::getpid();
  // Blocked across the fork: the signal may be sent before the child can take it.
  sigset_t drain_only;
  sigset_t before;
  ::sigemptyset(&drain_only);
  ::sigaddset(&drain_only, kDrainSignal);
  ::sigprocmask(SIG_BLOCK, &drain_only, &before);
  const pid_t child = ::fork();
  const int error = errno;
  if (child == 0 && forget) forget();
  if (child == 0) run_writer(reader.get(), output, style, parent);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return fail_errno(error, "starting the process that writes the log (fork)");
  return LogWriter(std::move(writer), child);
}

LogWriter::LogWriter(LogWriter&& other) noexcept
    : pipe_(std::move(other.pipe_)), child_(std::exchange(other.child_, 0)) {}

LogWriter& LogWriter::operator=(LogWriter&& other) noexcept {
  if (this == &other) return *this;
  (void)finish(seconds(1));
  pipe_ = std::move(other.pipe_);
  child_ = std::exchange(other.child_, 0);
  return *this;
}

LogWriter::~LogWriter() { (void)finish(seconds(1)); }

bool LogWriter::finish(Duration patience) noexcept {
  pipe_.reset();
  const pid_t child = std::exchange(child_, 0);
  if (child <= 0) return true;
  (void)signal_child(child, kDrainSignal);
  const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  const TimePoint deadline = Clock::now() + patience;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    pollfd item{handle.get(), POLLIN, 0};
    const int ready = ::poll(&item, 1, static_cast<int>(std::max<milliseconds::rep>(left, 0)));
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    if (ready >= 0 && left <= 0) break;
  }
  // Its reader does not read: what is left is lost, but nobody is kept waiting.
  (void)signal_child(child, SIGKILL);
  (void)::waitpid(child, nullptr, 0);
  return false;
}

}  // namespace proxyvpn::app
