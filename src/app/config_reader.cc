#include "app/config_reader.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "app/capabilities.h"
#include "app/sandbox.h"
#include "base/secret.h"

namespace proxyvpn::app {
namespace {

constexpr std::size_t kLargestOptions = std::size_t{1} << 20;  // a file has at most 64 KiB

void wipe_bytes(std::vector<std::uint8_t>& bytes) {
  wipe(reinterpret_cast<char*>(bytes.data()), bytes.size());
  bytes.clear();
}

void write_all(int fd, const std::vector<std::uint8_t>& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const auto n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno != EINTR) return;
    if (n > 0) done += static_cast<std::size_t>(n);
  }
}

EffectiveOptions read_again(const Sources& sources) {
  UpFlags merged;
  const auto judgement = judge_sources(sources, {.standard_input = false}, &merged);
  return effective_options(merged, judgement);
}

[[noreturn]] void run_child(const Sources& sources, int pipe, pid_t parent) {
  ::prctl(PR_SET_NAME, "proxyvpn-config");
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGALRM}) ::signal(signal, SIG_DFL);
  // Ends us when the parent cannot.
  ::alarm(static_cast<unsigned>(ConfigReader::kPatience.count()) + 2);
  SandboxOptions options;
  const int keep[] = {pipe};
  options.keep = keep;
  options.parent = parent;
  options.raise_descriptor_limit = false;
  options.become_other_user = false;  // the files are for the user who started us
  options.filter = false;
  if (!enter_sandbox(options)) ::_exit(1);
  auto bytes = encode(read_again(sources));
  write_all(pipe, bytes);
  wipe_bytes(bytes);
  ::_exit(0);
}

}  // namespace

ConfigReader::ConfigReader(event::Reactor& reactor)
    : reactor_(reactor), handler_([this](std::uint32_t) { look(); }), deadline_([this] {
        finish(fail(Code::Timeout,
                    "the configuration could not be read within 5 s (a disk or a "
                    "user database that does not answer?); nothing was changed"));
      }) {}

ConfigReader::~ConfigReader() {
  done_ = nullptr;
  if (pipe_) finish(fail(Code::Busy, ""));
}

Result<> ConfigReader::start(const Sources& sources, Done done) {
  reap();
  if (pipe_ || child_ > 0)
    return fail(Code::Busy, "the configuration is being read again already: try again");
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "reading again: pipe");
  UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  if (::fcntl(reader.get(), F_SETFL, O_NONBLOCK) != 0 ||
      !reactor_.add(reader.get(), EPOLLIN, handler_)) {
    return fail_errno(errno, "reading again: watching the answer");
  }
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) run_child(sources, writer.get(), parent);
  if (child < 0) {
    const int err = errno;
    reactor_.remove(reader.get(), handler_);
    return fail_errno(err, "reading the configuration again: starting a process for it (fork)");
  }
  child_ = child;
  pipe_ = std::move(reader);
  done_ = std::move(done);
  deadline_.arm(reactor_.timers(), reactor_.now() + kPatience);
  return {};
}

void ConfigReader::look() {
  std::array<std::uint8_t, 4096> buffer{};
  for (;;) {
    const auto n = ::read(pipe_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || bytes_.size() > kLargestOptions) break;
    bytes_.insert(bytes_.end(), buffer.begin(), buffer.begin() + n);
  }
  wipe(reinterpret_cast<char*>(buffer.data()), buffer.size());
  auto options = decode_options(bytes_);
  if (options) return finish(std::move(*options));
  finish(fail(Code::System,
              "the process that reads the configuration ended before it was done; "
              "nothing was changed"));
}

// Never waits: a disk that hangs keeps a process for a while, SIGKILL or not.
void ConfigReader::reap() noexcept {
  if (child_ > 0 && !pipe_ && ::waitpid(child_, nullptr, WNOHANG) != 0) child_ = 0;
}

void ConfigReader::finish(Result<EffectiveOptions> result) {
  deadline_.cancel();
  reactor_.remove(pipe_.get(), handler_);
  pipe_.reset();
  wipe_bytes(bytes_);
  if (child_ > 0) static_cast<void>(signal_child(child_, SIGKILL));
  reap();
  const auto done = std::exchange(done_, nullptr);
  if (done) done(std::move(result));
}

}  // namespace proxyvpn::app
