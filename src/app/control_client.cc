#include "app/control_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <span>
#include <utility>

#include "app/control_server.h"
#include "app/passed_descriptors.h"

namespace proxyvpn::app {
namespace {

// poll(2) for one descriptor until `deadline`. 1 ready, 0 too late, -1 errno.
int wait_readable(int fd, TimePoint deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    pollfd entry{fd, POLLIN, 0};
    const int n = ::poll(&entry, 1, left > 0 ? static_cast<int>(left) : 0);
    if (n >= 0 || errno != EINTR) return n;
  }
}

}  // namespace

Result<ControlClient> ControlClient::connect(const StateDir& directory) {
  const std::string what = "control socket " + directory.path() + "/" + kControlName;
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno(errno, what);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(directory.fd()) + "/" + kControlName;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int err = errno;
    if (err == ECONNREFUSED || err == ENOENT) {
      return fail(Code::NotFound, "no proxyvpn listens at " + directory.path());
    }
    if (err == EACCES || err == EPERM) {
      return fail(Code::Permission, "user " + std::to_string(::getuid()) +
                                        " may not command the proxyvpn at " + directory.path() +
                                        ": only who started it, root and members of the group " +
                                        kInstallGroup + " may");
    }
    // EAGAIN: its backlog is full, it hangs or is flooded.
    return fail_errno(err, what);
  }
  const auto peer = peer_of(socket.get());
  if (!peer) return tl::unexpected(peer.error());
  // The connection stands, so the listener lived a moment ago; its pid is not another's yet.
  UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, peer->pid, 0)));
  return ControlClient(std::move(socket), std::move(process), peer->pid);
}

Result<> ControlClient::send(const Request& request) {
  const std::string line = request_line(request);
  if (::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size())) {
    return fail_errno(errno, "speaking to the daemon (process " + std::to_string(pid_) + ")");
  }
  return {};
}

Result<> ControlClient::wait(Progress what, Duration at_most) {
  const TimePoint deadline = Clock::now() + at_most;
  for (;;) {
    if (what == Progress::FirstLine && text_.find('\n') != std::string::npos) return {};
    const int ready = wait_readable(socket_.get(), deadline);
    if (ready < 0) return fail_errno(errno, "waiting for the daemon");
    if (ready == 0) {
      return fail(Code::Timeout,
                  "the daemon (process " + std::to_string(pid_) + ") does not answer");
    }
    char buffer[4096];
    const ssize_t n = receive_with(socket_.get(), std::as_writable_bytes(std::span(buffer)),
                                   kMostDescriptors, descriptors_)
                          .size;
    if (n < 0 && errno == EAGAIN) continue;
    if (n < 0 && errno != ECONNRESET) return fail_errno(errno, "listening to the daemon");
    if (n <= 0) return {};  // its end
    text_.append(buffer, static_cast<std::size_t>(n));
    if (text_.size() > kMaxReply) return fail(Code::Protocol, "the daemon's reply is too long");
  }
}

Result<Answered> ask(const StateDir& directory, const Request& request, Duration at_most) {
  auto client = ControlClient::connect(directory);
  if (!client) return tl::unexpected(client.error());
  if (auto sent = client->send(request); !sent) return tl::unexpected(sent.error());
  if (auto came = client->wait(ControlClient::Progress::End, at_most); !came) {
    return tl::unexpected(came.error());
  }
  auto reply = parse_reply(client->text());
  if (!reply) return tl::unexpected(reply.error());
  return Answered{std::move(*reply), client->take_descriptors()};
}

Result<Answered> ask_any(const Config& config, const Request& request, Duration at_most) {
  Result<Answered> answer = fail(Code::NotFound, "no proxyvpn is up");
  for (const auto& path : candidate_state_dirs(config.state_dir, ::geteuid())) {
    const auto directory = StateDir::open_existing(path);
    if (!directory) continue;
    auto reply = ask(*directory, request, at_most);
    if (reply) return reply;
    if (reply.error().code != Code::NotFound) answer = std::move(reply);
  }
  return answer;
}

bool wait_for_end(int process, Duration at_most) {
  if (process < 0) return false;
  return wait_readable(process, Clock::now() + at_most) == 1;
}

}  // namespace proxyvpn::app
