#pragma once
// The service manager's notification protocol (sd_notify(3)): one datagram of "KEY=value" lines to
// the socket named in $NOTIFY_SOCKET. Without that variable every call does nothing.
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {

class Notifier {
 public:
  // Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID and takes them out of the environment,
  // so that no child speaks in our name.
  static Notifier from_environment();

  [[nodiscard]] bool active() const noexcept { return socket_.valid(); }
  // How often alive() must be called: half of what the manager asked for; empty when it did not.
  [[nodiscard]] std::optional<Duration> watchdog_interval() const noexcept { return interval_; }

  void ready(std::string_view status) const noexcept;     // READY=1, MAINPID, STATUS
  void status(std::string_view status) const noexcept;    // STATUS
  void stopping(std::string_view status) const noexcept;  // STOPPING=1, STATUS
  void alive() const noexcept;                            // WATCHDOG=1

  // A datagram that can't be sent now is lost: the loop never waits for the manager.
  void send(const std::string& text) const noexcept;

 private:
  std::string path_;  // "@name" is an abstract socket
  UniqueFd socket_;
  std::optional<Duration> interval_;
};

}  // namespace proxyvpn::app
