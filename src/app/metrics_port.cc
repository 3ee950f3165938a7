#include "app/metrics_port.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "app/capabilities.h"
#include "app/metrics_server.h"
#include "base/log.h"

namespace proxyvpn::app {
namespace {

constexpr int kMetricsBacklog = 16;

}  // namespace

Result<UniqueFd> listen_for_metrics(const Endpoint& where) {
  const std::string what = "listening on " + to_string(where) + " (--metrics)";
  UniqueFd socket(
      ::socket(where.address.af(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  const int on = 1;
  const auto address = to_sockaddr(where);
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(socket.get(), address.get(), address.length) != 0 ||
      ::listen(socket.get(), kMetricsBacklog) != 0) {
    return fail_errno(errno, what);
  }
  return socket;
}

MetricsPort::MetricsPort(event::Reactor& reactor, Setup setup)
    : reactor_(reactor),
      setup_(std::move(setup)),
      handler_([this](std::uint32_t) { on_channel(); }),
      answer_timer_([this] { answer(); }),
      restart_timer_([this] { start(); }) {
  start();
}

MetricsPort::~MetricsPort() {
  close_channel();
  if (pid_ == 0) return;
  static_cast<void>(signal_child(pid_, SIGKILL));
  ::waitpid(pid_, nullptr, 0);
}

void MetricsPort::start() {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    restart_timer_.arm(reactor_.timers(), reactor_.now() + kRestart);
    return;
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t supervisor = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) run_child(std::move(theirs), supervisor);
  if (pid < 0) {
    log::warning("metrics: no process can be started (fork)", {{"errno", errno}});
    restart_timer_.arm(reactor_.timers(), reactor_.now() + kRestart);
    return;
  }
  pid_ = pid;
  if (reactor_.add(ours.get(), EPOLLIN, handler_)) channel_ = std::move(ours);
}

void MetricsPort::run_child(UniqueFd channel, pid_t supervisor) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != supervisor) ::_exit(1);
  ::prctl(PR_SET_NAME, "proxyvpn-metric");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP}) {
    ::signal(signal, SIG_IGN);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (setup_.forget) setup_.forget();
  const int keep[] = {setup_.listener.get(), channel.get()};
  if (setup_.enter_sandbox && !setup_.enter_sandbox(keep)) ::_exit(1);
  ::_exit(run_metrics_server(std::move(setup_.listener), std::move(channel)));
}

void MetricsPort::on_channel() {
  // However often it asks, it is one question.
  char bytes[16];
  ssize_t n = 0;
  for (int i = 0; i < 16; ++i) {
    n = ::recv(channel_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (n <= 0) break;
  }
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return close_channel();
  if (answer_timer_.armed()) return;
  answer_timer_.arm(reactor_.timers(), std::max(reactor_.now(), next_answer_));
}

void MetricsPort::answer() {
  if (!channel_) return;
  next_answer_ = reactor_.now() + kShortestPause;
  const std::string status = setup_.status();
  // A child that does not read gets nothing more.
  static_cast<void>(
      ::send(channel_.get(), status.data(), status.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
}

void MetricsPort::close_channel() {
  if (!channel_) return;
  reactor_.remove(channel_.get(), handler_);
  channel_.reset();
}

void MetricsPort::reap() {
  if (pid_ == 0 || ::waitpid(pid_, nullptr, WNOHANG) != pid_) return;
  pid_ = 0;
  close_channel();
  log::warning("the process that answers for --metrics has ended: another one follows in 5 s");
  restart_timer_.arm(reactor_.timers(), reactor_.now() + kRestart);
}

}  // namespace proxyvpn::app
