#pragma once
// The proxy's name into addresses, in a child without privileges: what comes from the network is
// parsed there (getaddrinfo(3) and whatever NSS loads), and fixed-size addresses come back through
// a pipe. The parent never waits for it.
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/sandbox.h"
#include "app/worker_protocol.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/ip.h"
#include "base/unique_fd.h"
#include "event/reactor.h"

namespace proxyvpn::app {

// Between two look-ups of a proxy's name; longer after those that fail.
inline constexpr seconds kResolvePause{5};

// In the order of RFC 6724, as getaddrinfo(3) gives them; no duplicates, at most
// kMaxProxyAddresses.
using Addresses = std::vector<IpAddress>;

inline constexpr milliseconds kResolveTimeout{10'000};

// One lookup. Movable; when it goes, the child goes.
class Lookup {
 public:
  // A literal address needs no child: fd() is -1 and poll() answers at once. `user`: see
  // SandboxOptions. The descriptor becomes readable when there is an answer.
  static Result<Lookup> start(const std::string& host, const SandboxUser& user,
                              milliseconds timeout = kResolveTimeout);
  Lookup(Lookup&& other) noexcept;
  Lookup& operator=(Lookup&& other) noexcept;
  ~Lookup();

  [[nodiscard]] int fd() const noexcept { return pipe_.get(); }
  [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }
  // The answer, or nothing yet. Code::Timeout behind the deadline. Never waits. Once only.
  std::optional<Result<Addresses>> poll(TimePoint now);

 private:
  Lookup(std::string host, TimePoint deadline) : host_(std::move(host)), deadline_(deadline) {}
  void end_child() noexcept;

  std::string host_;
  TimePoint deadline_{};
  std::optional<IpAddress> literal_;
  UniqueFd pipe_;
  pid_t child_ = 0;
  std::vector<std::uint8_t> answer_;
};

// For the start, when there is nothing else to do: waits for the answer, at most `timeout`.
Result<Addresses> resolve_now(const std::string& host, const SandboxUser& user,
                              milliseconds timeout = kResolveTimeout);

// While the event loop runs: one lookup at a time, `done` is called from the loop.
class BackgroundResolver {
 public:
  explicit BackgroundResolver(event::Reactor& reactor);
  ~BackgroundResolver();
  BackgroundResolver(const BackgroundResolver&) = delete;
  BackgroundResolver& operator=(const BackgroundResolver&) = delete;

  // Code::Busy while one runs. `done` is not called when this fails.
  Result<> start(const std::string& host, const SandboxUser& user, milliseconds timeout,
                 std::function<void(Result<Addresses>)> done);

 private:
  void look();

  event::Reactor& reactor_;
  std::optional<Lookup> lookup_;
  std::function<void(Result<Addresses>)> done_;
  event::FunctionHandler handler_;
  event::Timer timer_;
};

// What the child writes, exposed for tests: everything from it is checked.
std::vector<std::uint8_t> encode_answer(int gai_error, int sys_errno,
                                        std::span<const IpAddress> addresses);
Result<Addresses> decode_answer(const std::string& host, std::span<const std::uint8_t> bytes);

}  // namespace proxyvpn::app
