#pragma once
// Socket calls that end at a deadline, for a tool that does one thing after the other. poll(2),
// never a blocking call; the daemon has its reactor instead.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/ip.h"
#include "base/unique_fd.h"

namespace proxyvpn::probe {

// One for all steps of a probe.
class Deadline {
 public:
  static Deadline in(milliseconds time) { return Deadline(Clock::now() + time); }
  // The nearer of this one and `time` from now.
  [[nodiscard]] Deadline at_most(milliseconds time) const;
  [[nodiscard]] bool passed() const { return Clock::now() >= end_; }
  // For poll(2): rounded up, 0 once it has passed.
  [[nodiscard]] int poll_timeout() const;

 private:
  explicit Deadline(TimePoint end) : end_(end) {}
  TimePoint end_{};
};

// Waits until one of `events` (poll(2)) or an error stands. Code::Timeout at the deadline.
Result<> wait_for(int fd, short events, const Deadline& deadline, const std::string& doing);

// A TCP connection; `mark`: SO_MARK before the first packet leaves (socket(7): needs CAP_NET_ADMIN
// or, since Linux 5.17, CAP_NET_RAW).
Result<UniqueFd> connect_tcp(const SocketAddress& to, const std::string& name,
                             std::optional<std::uint32_t> mark, const Deadline& deadline);
// A UDP socket that hears of `to` alone, and of the errors on the way there. Nothing is sent.
Result<UniqueFd> connect_udp(const SocketAddress& to, const std::string& name);

Result<> send_all(int fd, std::span<const std::uint8_t> bytes, const Deadline& deadline,
                  const std::string& doing);
// The bytes of one recv(2) in `buffer`; 0 at the end of a stream.
Result<std::size_t> receive(int fd, std::span<std::uint8_t> buffer, const Deadline& deadline,
                            const std::string& doing);

// The addresses of a host name or address literal, at most 16, as getaddrinfo(3) orders them
// (RFC 6724). A name is resolved in a child process, as getaddrinfo cannot be told to stop.
Result<std::vector<IpAddress>> resolve_host(const std::string& host, const Deadline& deadline);

}  // namespace proxyvpn::probe
