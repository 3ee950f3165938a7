#include "app/signal_relay.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace proxyvpn::app {
namespace {

// Everything that somebody may send to a program and that does not mean a fault of its own. SIGCHLD
// is for us. Not SIGTTIN and SIGTTOU: only who uses the terminal gets them.
constexpr int kSignals[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT,  SIGUSR1, SIGUSR2,
                            SIGALRM, SIGTSTP, SIGCONT, SIGWINCH, SIGCHLD, SIGVTALRM,
                            SIGPROF, SIGURG,  SIGIO,   SIGPWR};

}  // namespace

Result<SignalRelay> SignalRelay::open() {
  SignalRelay relay;
  sigset_t set;
  ::sigemptyset(&set);
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  for (const int number : kSignals) {
    ::sigaddset(&set, number);
    Before before{number, {}};
    // An ignored signal is never read.
    ::sigaction(number, &plain, &before.action);
    relay.before_.push_back(before);
  }
  Before pipe{SIGPIPE, {}};
  plain.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &plain, &pipe.action);
  relay.before_.push_back(pipe);
  if (::sigprocmask(SIG_BLOCK, &set, &relay.mask_) != 0) return fail_errno(errno, "sigprocmask");
  relay.descriptor_ = UniqueFd(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!relay.descriptor_) return fail_errno(errno, "signalfd");
  return relay;
}

void SignalRelay::restore() const noexcept {
  for (const Before& before : before_) ::sigaction(before.number, &before.action, nullptr);
  ::sigprocmask(SIG_SETMASK, &mask_, nullptr);
}

SignalRelay::Next SignalRelay::next(pid_t command) const noexcept {
  signalfd_siginfo info{};
  const ssize_t n = ::read(descriptor_.get(), &info, sizeof info);
  if (n != static_cast<ssize_t>(sizeof info)) return {};
  Next next;
  next.number = static_cast<int>(info.ssi_signo);
  // From the kernel: the terminal's, and the whole group has it. From the command: it does not want
  // it back.
  next.relay = next.number != SIGCHLD && info.ssi_code != SI_KERNEL &&
               static_cast<pid_t>(info.ssi_pid) != command;
  return next;
}

}  // namespace proxyvpn::app
