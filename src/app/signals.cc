#include "app/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace proxyvpn::app {

Result<Signals> Signals::open(std::initializer_list<int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : signals) {
    ::sigaddset(&set, signal);
    // A parent such as nohup(1) may have left it ignored: an ignored signal is never read.
    if (signal != SIGHUP) ::signal(signal, SIG_DFL);
  }
  ::signal(SIGPIPE, SIG_IGN);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return fail_errno(errno, "sigprocmask");
  UniqueFd descriptor(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!descriptor) return fail_errno(errno, "signalfd");
  return Signals(std::move(descriptor));
}

std::optional<int> Signals::next() const noexcept {
  signalfd_siginfo info{};
  const ssize_t n = ::read(descriptor_.get(), &info, sizeof info);
  if (n != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace proxyvpn::app
