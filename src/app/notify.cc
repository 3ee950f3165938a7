#include "app/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace proxyvpn::app {
namespace {

std::optional<std::uint64_t> number_from(const char* name) {
  const char* const text = ::getenv(name);
  if (!text) return std::nullopt;
  std::uint64_t number = 0;
  const char* const end = text + std::strlen(text);
  const auto [last, problem] = std::from_chars(text, end, number);
  if (problem != std::errc() || last != end) return std::nullopt;
  return number;
}

std::optional<Duration> watchdog_from_environment() {
  const auto limit = number_from("WATCHDOG_USEC");
  const auto pid = number_from("WATCHDOG_PID");
  if (!limit || *limit == 0 || *limit > 86'400'000'000ull) return std::nullopt;
  if (pid && *pid != static_cast<std::uint64_t>(::getpid())) return std::nullopt;
  return std::chrono::duration_cast<Duration>(std::chrono::microseconds(*limit / 2));
}

}  // namespace

Notifier Notifier::from_environment() {
  Notifier result;
  const char* const path = ::getenv("NOTIFY_SOCKET");
  const bool usable = path && (path[0] == '/' || path[0] == '@') && path[1] != '\0' &&
                      std::strlen(path) < sizeof(sockaddr_un::sun_path);
  if (usable) {
    result.path_ = path;
    result.interval_ = watchdog_from_environment();
    result.socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
  ::unsetenv("NOTIFY_SOCKET");
  ::unsetenv("WATCHDOG_USEC");
  ::unsetenv("WATCHDOG_PID");
  return result;
}

void Notifier::send(const std::string& text) const noexcept {
  if (!socket_) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  // An abstract address is as long as its name; a path ends with its zero byte (unix(7)).
  std::size_t length = offsetof(sockaddr_un, sun_path) + path_.size();
  if (path_.front() == '@') {
    address.sun_path[0] = '\0';
  } else {
    ++length;
  }
  const ssize_t sent =
      ::sendto(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
               reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(length));
  static_cast<void>(sent);  // nobody to tell
}

void Notifier::ready(std::string_view status) const noexcept {
  send("READY=1\nMAINPID=" + std::to_string(::getpid()) + "\nSTATUS=" + std::string(status));
}

void Notifier::status(std::string_view status) const noexcept {
  send("STATUS=" + std::string(status));
}

void Notifier::stopping(std::string_view status) const noexcept {
  send("STOPPING=1\nSTATUS=" + std::string(status));
}

void Notifier::alive() const noexcept { send("WATCHDOG=1"); }

}  // namespace proxyvpn::app
