#include "app/detach.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace proxyvpn::app {
namespace {

// What goes through the pipe is lines; the first byte says what the rest is.
constexpr char kSay = 'o';
constexpr char kComplain = 'e';
constexpr char kProgress = 'p';
constexpr char kDecide = 'd';

std::atomic<pid_t> daemon_pid{0};

// Async-signal-safe: kill(2) only.
void pass_on(int) {
  const pid_t pid = daemon_pid.load();
  if (pid > 0) ::kill(pid, SIGTERM);
}

std::string how_it_ended(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) return "is gone";
  if (WIFSIGNALED(status)) {
    return std::string("was killed (") + ::strsignal(WTERMSIG(status)) + ")";
  }
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

constexpr const char* kTakeBack = "\r\x1b[K";

bool takes_lines_back(int fd) {
  const char* const term = std::getenv("TERM");
  return ::isatty(fd) == 1 && term != nullptr && std::strcmp(term, "dumb") != 0;
}

// Without the newline that a line of the pipe ends with.
void draw_progress(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  std::fprintf(stderr, "%s%.*s", kTakeBack, static_cast<int>(text.size()), text.data());
  std::fflush(stderr);
}

// Prints lines until the decision; answers the exit code.
int follow(FILE* stream, pid_t pid, const EarlyLog& form) {
  char* line = nullptr;
  std::size_t capacity = 0;
  int code = -1;
  const bool draws = takes_lines_back(STDERR_FILENO);
  while (code < 0) {
    const ssize_t length = ::getline(&line, &capacity, stream);
    if (length < 0) {
      if (::ferror(stream) != 0 && errno == EINTR) {
        ::clearerr(stream);
        continue;
      }
      break;
    }
    if (draws) draw_progress(line[0] == kProgress ? line + 1 : "");
    if (line[0] == kSay && std::fputs(line + 1, stdout) >= 0) std::fflush(stdout);
    if (line[0] == kComplain) std::fputs(line + 1, stderr);
    if (line[0] == kDecide) code = std::atoi(line + 1) & 0xff;
  }
  std::free(line);
  if (code >= 0) return code;
  const auto last =
      form.line(log::Level::Error, "the start failed: the daemon " + how_it_ended(pid));
  if (!last.empty()) std::fprintf(stderr, "%s\n", last.c_str());
  return 1;
}

int wait_as_parent(UniqueFd pipe, pid_t pid, const EarlyLog& form) {
  daemon_pid.store(pid);
  struct sigaction action {};
  action.sa_handler = pass_on;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  FILE* const stream = ::fdopen(pipe.release(), "r");
  if (stream == nullptr) return 1;
  const int code = follow(stream, pid, form);
  std::fclose(stream);
  // A start that failed is over when its process is: whoever starts again, or looks, finds nothing.
  if (code != 0) {
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  std::fflush(stdout);
  return code;
}

}  // namespace

Result<Launcher> Launcher::detach(EarlyLog form, std::optional<int>& parents_exit_code) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "--detach: making a pipe");
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "--detach: starting a process (fork)");
  if (pid > 0) {
    writing.reset();
    parents_exit_code = wait_as_parent(std::move(reading), pid, form);
    return Launcher();
  }
  ::setsid();
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  // Whoever waits for the end of our output must not wait for ours; stderr follows when there is a
  // log.
  if (null) {
    ::dup2(null.get(), STDIN_FILENO);
    ::dup2(null.get(), STDOUT_FILENO);
  }
  if (::chdir("/") != 0) {
    // Then the directory we were started in stays in use: nothing else.
  }
  Launcher launcher(std::move(form));
  launcher.detached_ = true;
  launcher.pipe_ = std::move(writing);
  return launcher;
}

namespace {

// A stopped terminal (Ctrl-S) or a full pipe must not stop the supervisor: after a moment the line
// is dropped. Shorter than PIPE_BUF, so that a writable pipe takes it whole.
void print(int fd, std::string_view line, const char* end = "\n") noexcept {
  pollfd waiting{fd, POLLOUT, 0};
  if (::poll(&waiting, 1, 200) != 1) return;
  std::string text(line.substr(0, 4000));
  text += end;
  const ssize_t written = ::write(fd, text.data(), text.size());
  static_cast<void>(written);  // nobody to tell
}

}  // namespace

bool Launcher::send(char kind, std::string_view text) noexcept {
  std::string line(1, kind);
  for (const char c : text) line += c == '\n' ? ' ' : c;
  line += '\n';
  const char* rest = line.data();
  std::size_t left = line.size();
  while (left > 0) {
    const ssize_t n = ::write(pipe_.get(), rest, left);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    rest += n;
    left -= static_cast<std::size_t>(n);
  }
  return true;
}

void Launcher::say(std::string_view line) noexcept {
  if (detached_) {
    if (pipe_) static_cast<void>(send(kSay, line));  // nobody reads: nobody to tell
    return;
  }
  print(STDOUT_FILENO, (takes_lines_back(STDOUT_FILENO) ? kTakeBack : "") + std::string(line));
}

void Launcher::progress(std::string_view text) noexcept {
  std::string line(text.empty() ? "" : "proxyvpn: ");
  line += text.substr(0, 70);  // of 80 columns
  if (detached_) {
    if (pipe_) static_cast<void>(send(kProgress, line));
    return;
  }
  if (!takes_lines_back(STDERR_FILENO)) return;
  print(STDERR_FILENO, kTakeBack + line, "");
}

void Launcher::complain(log::Level level, std::string_view sentence) noexcept {
  const std::string line = form_.line(level, sentence);
  if (line.empty()) return;
  if (detached_) {
    if (pipe_) static_cast<void>(send(kComplain, line));
    return;
  }
  print(STDERR_FILENO, (takes_lines_back(STDERR_FILENO) ? kTakeBack : "") + line);
}

bool Launcher::decide(int exit_code) noexcept {
  if (!detached_ || !pipe_) return true;
  const bool heard = send(kDecide, std::to_string(exit_code));
  pipe_.reset();
  return heard;
}

}  // namespace proxyvpn::app
