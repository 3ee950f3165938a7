#include "app/stop_daemon.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "app/beacon.h"
#include "app/capabilities.h"
#include "app/control_client.h"

namespace proxyvpn::app {
namespace {

constexpr seconds kHearing{3};  // for the first line of an answer
constexpr seconds kWaking{2};   // the same, after SIGCONT
constexpr seconds kQuiet{1};    // before a person is told to wait
constexpr seconds kTeardown{20};
constexpr seconds kDying{5};

using Say = std::function<void(const std::string&)>;
using Progress = ControlClient::Progress;

Result<> send_signal(int process, int signal, pid_t pid) {
  const RaisedCapability raised(CAP_KILL);  // root has it, others need not
  if (process < 0) return fail(Code::NotFound, "process " + std::to_string(pid) + " is not seen");
  if (::syscall(SYS_pidfd_send_signal, process, signal, nullptr, 0) == 0 || errno == ESRCH) {
    return {};
  }
  return fail_errno(errno, "ending process " + std::to_string(pid));
}

Result<Stopped> kill_it(int process, pid_t pid, const Say& say) {
  say("the daemon (process " + std::to_string(pid) + ") does not react: it is killed");
  if (auto sent = send_signal(process, SIGKILL, pid); !sent) return tl::unexpected(sent.error());
  if (!wait_for_end(process, kDying)) {
    return fail(Code::Timeout, "process " + std::to_string(pid) + " does not end");
  }
  Stopped stopped;
  stopped.found = true;
  stopped.forced = true;
  return stopped;
}

Result<Stopped> terminate(int process, pid_t pid, const Say& say) {
  for (const int signal : {SIGTERM, SIGCONT}) {
    if (auto sent = send_signal(process, signal, pid); !sent) return tl::unexpected(sent.error());
  }
  if (!wait_for_end(process, kQuiet)) {
    say("waiting for process " + std::to_string(pid) + " to finish");
    if (!wait_for_end(process, kTeardown)) return kill_it(process, pid, say);
  }
  Stopped stopped;
  stopped.found = true;
  stopped.in_order = true;
  return stopped;
}

// A daemon without a reachable socket: it holds the lock, so the kernel knows its process.
Result<Stopped> stop_by_signal(const StateDir& directory, const Say& say) {
  const auto pid = InstanceLock::holder(directory);
  if (!pid) return Stopped{};
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  // Another process may have got the number meanwhile; then it does not hold the lock.
  if (!process || InstanceLock::holder(directory) != pid) return Stopped{};
  return terminate(process.get(), *pid, say);
}

// True: it has answered. A stopped (SIGSTOP) daemon is woken; what it missed it does then.
bool hears(ControlClient& client) {
  if (client.wait(Progress::FirstLine, kHearing)) return true;
  if (!send_signal(client.process(), SIGCONT, client.pid())) return false;
  return client.wait(Progress::FirstLine, kWaking).has_value();
}

Result<Stopped> judge(const ControlClient& client) {
  const auto reply = parse_reply(client.text());
  Stopped stopped;
  stopped.found = true;
  if (!reply) return stopped;  // it died while it spoke; what it left is looked at afterwards
  if (!reply->ok) {
    stopped.problem = reply->problem;
    return stopped;
  }
  for (const auto& [key, value] : reply->fields) {
    if (key == "done") stopped.left_shut = value == "shut";
  }
  stopped.in_order = true;
  return stopped;
}

}  // namespace

Result<Stopped> stop_daemon(const StateDir& directory, const Say& say) {
  auto client = ControlClient::connect(directory);
  if (!client && client.error().code == Code::NotFound) return stop_by_signal(directory, say);
  if (!client && client.error().sys_errno == EAGAIN) return stop_by_signal(directory, say);
  if (!client) return tl::unexpected(client.error());
  if (auto sent = client->send({Verb::Down}); !sent) return stop_by_signal(directory, say);
  if (!hears(*client)) return kill_it(client->process(), client->pid(), say);
  if (client->text().rfind("error: ", 0) == 0) {
    const auto reply = parse_reply(client->text());
    return fail(Code::Permission, reply ? reply->problem : "the daemon refused");
  }
  if (!client->wait(Progress::End, kQuiet)) {
    say("waiting for process " + std::to_string(client->pid()) + " to finish");
    if (!client->wait(Progress::End, kTeardown)) {
      return kill_it(client->process(), client->pid(), say);
    }
  }
  if (client->process() >= 0 && !wait_for_end(client->process(), kDying)) {
    return kill_it(client->process(), client->pid(), say);
  }
  return judge(*client);
}

Result<Stopped> stop_lost_daemon(const Say& say) {
  const auto owner = find_beacon();
  if (!owner || !owner->process) return Stopped{};
  return terminate(owner->process.get(), owner->pid, say);
}

}  // namespace proxyvpn::app
