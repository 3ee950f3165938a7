#include "probe/bounded_io.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <climits>
#include <csignal>
#include <cstring>
#include <memory>

namespace proxyvpn::probe {
namespace {

constexpr std::size_t kMaxAddresses = 16;

// What the resolving child says: one of these, in one write(2).
struct Resolved {
  int gai_code = 0;
  int sys_errno = 0;  // with EAI_SYSTEM
  std::uint32_t count = 0;
  std::array<std::array<std::uint8_t, 16>, kMaxAddresses> bytes{};
  std::array<std::uint8_t, kMaxAddresses> family{};  // 4 or 6
};
static_assert(sizeof(Resolved) <= PIPE_BUF);

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

Resolved resolve_blocking(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  Resolved out;
  out.gai_code = ::getaddrinfo(host.c_str(), nullptr, &hints, &raw);
  out.sys_errno = errno;
  const std::unique_ptr<addrinfo, FreeAddresses> list(raw);
  for (const addrinfo* one = list.get(); one != nullptr && out.count < kMaxAddresses;
       one = one->ai_next) {
    const auto endpoint = from_sockaddr(one->ai_addr, one->ai_addrlen);
    if (!endpoint) continue;
    const auto bytes = endpoint->address.bytes();
    std::copy(bytes.begin(), bytes.end(), out.bytes[out.count].begin());
    out.family[out.count++] = endpoint->address.is_v4() ? 4 : 6;
  }
  return out;
}

// Ends the child when it goes: by then it has answered, or it must not go on.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

 private:
  pid_t pid_;
};

Result<Resolved> resolve_in_child(const std::string& host, const Deadline& deadline) {
  std::array<int, 2> ends{};
  const auto doing = "resolving " + host;
  if (deadline.poll_timeout() == 0) return fail(Code::Timeout, doing + ": no time is left for it");
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, doing + ": pipe2");
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, doing + ": fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);  // it went before prctl() took effect
    const auto resolved = resolve_blocking(host);
    const auto written = ::write(write_end.get(), &resolved, sizeof resolved);
    ::_exit(written == static_cast<ssize_t>(sizeof resolved) ? 0 : 1);
  }
  const Child child(pid);
  write_end.reset();
  if (auto ready = wait_for(read_end.get(), POLLIN, deadline, doing); !ready)
    return tl::unexpected(ready.error());
  Resolved out;
  const auto got = ::read(read_end.get(), &out, sizeof out);
  if (got != static_cast<ssize_t>(sizeof out))
    return fail(Code::System, doing + ": the resolving process ended without an answer");
  return out;
}

Result<> set_mark(int fd, std::uint32_t mark) {
  if (::setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0) return {};
  const int err = errno;
  const auto what = "setting SO_MARK " + std::to_string(mark) + " on the connection to the proxy";
  if (err != EPERM) return fail_errno(err, what);
  return tl::unexpected(Error{Code::Permission, err,
                              what +
                                  " is not permitted: it needs CAP_NET_ADMIN (run it as root, or "
                                  "leave --socket-mark out)"});
}

Result<UniqueFd> open_socket(const SocketAddress& to, int type, const std::string& name) {
  UniqueFd fd(::socket(to.get()->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(errno, "opening a socket to " + name);
  return fd;
}

}  // namespace

Deadline Deadline::at_most(milliseconds time) const {
  return Deadline(std::min(end_, Clock::now() + time));
}

int Deadline::poll_timeout() const {
  const auto left = std::chrono::ceil<milliseconds>(end_ - Clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, INT_MAX));
}

Result<> wait_for(int fd, short events, const Deadline& deadline, const std::string& doing) {
  for (;;) {
    pollfd one{fd, events, 0};
    const int ready = ::poll(&one, 1, deadline.poll_timeout());
    if (ready > 0) return {};
    if (ready == 0) return fail(Code::Timeout, doing + ": no answer in time");
    if (errno != EINTR) return fail_errno(errno, doing + ": poll");
  }
}

Result<UniqueFd> connect_tcp(const SocketAddress& to, const std::string& name,
                             std::optional<std::uint32_t> mark, const Deadline& deadline) {
  auto fd = open_socket(to, SOCK_STREAM, name);
  if (!fd) return fd;
  if (mark) {
    if (auto marked = set_mark(fd->get(), *mark); !marked) return tl::unexpected(marked.error());
  }
  const auto doing = "connecting to " + name;
  if (::connect(fd->get(), to.get(), to.length) == 0) return fd;
  if (errno != EINPROGRESS) return fail_errno(errno, doing);
  if (auto ready = wait_for(fd->get(), POLLOUT, deadline, doing); !ready)
    return tl::unexpected(ready.error());
  int err = 0;
  socklen_t length = sizeof err;
  if (::getsockopt(fd->get(), SOL_SOCKET, SO_ERROR, &err, &length) != 0) err = errno;
  if (err != 0) return fail_errno(err, doing);
  return fd;
}

Result<UniqueFd> connect_udp(const SocketAddress& to, const std::string& name) {
  auto fd = open_socket(to, SOCK_DGRAM, name);
  if (fd && ::connect(fd->get(), to.get(), to.length) != 0)
    return fail_errno(errno, "finding a route to " + name);
  return fd;
}

Result<> send_all(int fd, std::span<const std::uint8_t> bytes, const Deadline& deadline,
                  const std::string& doing) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (auto ready = wait_for(fd, POLLOUT, deadline, doing); !ready) return ready;
    } else if (errno != EINTR) {
      return fail_errno(errno, doing);
    }
  }
  return {};
}

Result<std::size_t> receive(int fd, std::span<std::uint8_t> buffer, const Deadline& deadline,
                            const std::string& doing) {
  for (;;) {
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == EAGAIN) {
      if (auto ready = wait_for(fd, POLLIN, deadline, doing); !ready)
        return tl::unexpected(ready.error());
    } else if (errno != EINTR) {
      return fail_errno(errno, doing);
    }
  }
}

Result<std::vector<IpAddress>> resolve_host(const std::string& host, const Deadline& deadline) {
  if (const auto literal = IpAddress::parse(host)) return std::vector<IpAddress>{*literal};
  const auto resolved = resolve_in_child(host, deadline);
  if (!resolved) return tl::unexpected(resolved.error());
  if (resolved->gai_code == EAI_SYSTEM) return fail_errno(resolved->sys_errno, "resolving " + host);
  if (resolved->gai_code != 0) {
    return fail(Code::NotFound, "resolving " + host + ": " + ::gai_strerror(resolved->gai_code));
  }
  std::vector<IpAddress> out;
  for (std::size_t i = 0; i < std::min<std::size_t>(resolved->count, kMaxAddresses); ++i) {
    const std::span<const std::uint8_t, 16> raw(resolved->bytes[i]);
    out.push_back(resolved->family[i] == 4 ? IpAddress::v4(raw.first<4>()) : IpAddress::v6(raw));
  }
  if (out.empty()) return fail(Code::NotFound, "resolving " + host + ": it has no address");
  return out;
}

}  // namespace proxyvpn::probe
