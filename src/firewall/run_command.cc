#include "firewall/run_command.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/unique_fd.h"

namespace proxyvpn::firewall {
namespace {

constexpr int kCannotExecute = 127;
constexpr unsigned kCloseRangeCloexec = 4;  // linux/close_range.h; not in older headers

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> make_pipe() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail_errno(errno, "cannot make a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// A file in memory: no writer that could block, no SIGPIPE, and /dev/stdin can be opened.
Result<UniqueFd> make_input(std::string_view input) {
  UniqueFd file(::memfd_create("proxyvpn-input", MFD_CLOEXEC));
  if (!file) return fail_errno(errno, "cannot make a file in memory");
  while (!input.empty()) {
    const ssize_t put = ::write(file.get(), input.data(), input.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return fail_errno(put < 0 ? errno : EIO, "cannot write a file in memory");
    input.remove_prefix(static_cast<std::size_t>(put));
  }
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno(errno, "cannot rewind a file");
  return file;
}

// From here on only what signal-safety(7) allows.
[[noreturn]] void give_up(int report, int err) noexcept {
  // Nobody is there to be told if this fails; the status says it too.
  (void)!::write(report, &err, sizeof err);
  ::_exit(kCannotExecute);
}

// Ambient capabilities go to programs without file capabilities (capabilities(7)); they must be
// permitted and inheritable.
void raise_ambient_net_admin() noexcept {
  if (::geteuid() == 0) return;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  if (::syscall(SYS_capget, &header, data) < 0) return;
  const std::uint32_t bit = 1U << CAP_NET_ADMIN;
  if ((data[0].permitted & bit) == 0) return;
  data[0].inheritable |= bit;
  // If one of these fails the command says that it may not, which is the right message.
  (void)::syscall(SYS_capset, &header, data);
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
}

void default_signals() noexcept {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) (void)::sigaction(signal, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
}

struct ChildEnds {
  int input = -1;
  int out = -1;
  int err = -1;
  int report = -1;
};

[[noreturn]] void become(const char* path, char* const* arguments, char* const* environment,
                         ChildEnds ends, pid_t parent) noexcept {
  default_signals();
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kCannotExecute);
  // Away from 0, 1 and 2, in case the caller had closed those.
  for (int* fd : {&ends.input, &ends.out, &ends.err, &ends.report}) {
    *fd = ::fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    if (*fd < 0) ::_exit(kCannotExecute);
  }
  if (::dup2(ends.input, 0) < 0 || ::dup2(ends.out, 1) < 0 || ::dup2(ends.err, 2) < 0)
    give_up(ends.report, errno);
  if (::chdir("/") < 0) give_up(ends.report, errno);
  raise_ambient_net_admin();
  // Whatever the caller has inherited or forgotten to mark; before Linux 5.11 it is marked already
  // or it stays (close_range(2), the raw call because of older C libraries).
  (void)::syscall(SYS_close_range, 3U, ~0U, kCloseRangeCloexec);
  ::execve(path, arguments, environment);
  give_up(ends.report, errno);
}

struct Child {
  pid_t pid = -1;
  UniqueFd out;
  UniqueFd err;
  UniqueFd report;
};

Result<Child> start(const std::string& path, const std::vector<std::string>& arguments,
                    std::string_view input) {
  auto in = make_input(input);
  if (!in) return tl::unexpected<Error>(in.error());
  std::array<Pipe, 3> pipes;
  for (Pipe& pipe : pipes) {
    auto made = make_pipe();
    if (!made) return tl::unexpected<Error>(made.error());
    pipe = std::move(*made);
  }
  std::vector<std::string> words{path};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string folders = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  std::string locale = "LC_ALL=C";
  std::array<char*, 3> environment{folders.data(), locale.data(), nullptr};
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "cannot start " + path);
  if (pid == 0) {
    become(path.c_str(), argv.data(), environment.data(),
           {in->get(), pipes[0].write.get(), pipes[1].write.get(), pipes[2].write.get()}, parent);
  }
  return Child{pid, std::move(pipes[0].read), std::move(pipes[1].read), std::move(pipes[2].read)};
}

// Reads what is there. False at the end of the stream or when it is too long.
bool read_some(UniqueFd& from, std::string& to) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(from.get(), buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  to.append(buffer.data(), static_cast<std::size_t>(got));
  return got > 0 && to.size() <= kOutputLimit;
}

enum class End { Finished, TimedOut, TooLong };

int milliseconds_until(TimePoint deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60000));
}

End read_all(Child& child, CommandOutput& output, TimePoint deadline) {
  while (child.out.valid() || child.err.valid()) {
    // poll(2) skips negative descriptors.
    std::array<pollfd, 2> waits{pollfd{child.out.get(), POLLIN, 0},
                                pollfd{child.err.get(), POLLIN, 0}};
    const int ready = ::poll(waits.data(), waits.size(), milliseconds_until(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return End::TimedOut;
    if (waits[0].revents != 0 && !read_some(child.out, output.out)) child.out.reset();
    if (waits[1].revents != 0 && !read_some(child.err, output.err)) child.err.reset();
    if (output.out.size() > kOutputLimit || output.err.size() > kOutputLimit) return End::TooLong;
  }
  return End::Finished;
}

// Both streams are closed, so the process is about to end.
End reap(pid_t pid, int& status, TimePoint deadline) {
  for (;;) {
    const pid_t got = ::waitpid(pid, &status, WNOHANG);
    if (got == pid) return End::Finished;
    if (got < 0 && errno != EINTR) {
      status = 0;
      return End::TimedOut;
    }
    if (Clock::now() >= deadline) return End::TimedOut;
    ::poll(nullptr, 0, 1);
  }
}

}  // namespace

Result<std::string> find_command(std::string_view name) {
  for (const char* folder : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"}) {
    std::string path = folder + std::string(name);
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
        (status.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0)
      return path;
  }
  return fail(Code::NotFound, std::string(name) + " is not in /usr/sbin, /sbin, /usr/bin or /bin");
}

Result<CommandOutput> run_command(const std::string& path,
                                  const std::vector<std::string>& arguments, std::string_view input,
                                  milliseconds timeout) {
  const TimePoint deadline = Clock::now() + timeout;
  auto child = start(path, arguments, input);
  if (!child) return tl::unexpected<Error>(child.error());
  CommandOutput output;
  int status = 0;
  End end = read_all(*child, output, deadline);
  if (end == End::Finished) end = reap(child->pid, status, deadline);
  if (end != End::Finished) {
    (void)::kill(child->pid, SIGKILL);
    while (::waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  switch (end) {
    case End::TimedOut:
      return fail(Code::Timeout, path + " did not end within " + std::to_string(timeout.count()) +
                                     " ms and was killed");
    case End::TooLong:
      return fail(Code::Protocol, path + " wrote more than " + std::to_string(kOutputLimit) +
                                      " bytes and was killed");
    case End::Finished:
      break;
  }
  int err = 0;
  if (::read(child->report.get(), &err, sizeof err) == sizeof err)
    return fail_errno(err, "cannot execute " + path);
  output.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return output;
}

Result<std::string> run_checked(const std::string& path, const std::vector<std::string>& arguments,
                                std::string_view input) {
  auto output = run_command(path, arguments, input);
  if (!output) return tl::unexpected<Error>(output.error());
  if (output->status == 0) return std::move(output->out);
  std::string line = path;
  for (const std::string& argument : arguments) line += " " + argument;
  std::string words = output->err.substr(0, 400);
  while (!words.empty() && words.back() == '\n') words.pop_back();
  std::replace(words.begin(), words.end(), '\n', ' ');
  const bool denied = words.find("Operation not permitted") != std::string::npos ||
                      words.find("Permission denied") != std::string::npos;
  const bool missing = words.find("No such file or directory") != std::string::npos;
  return fail(
      denied ? Code::Permission : (missing ? Code::NotFound : Code::System),
      "\"" + line + "\" ended with status " + std::to_string(output->status) + ": " + words);
}

}  // namespace proxyvpn::firewall
