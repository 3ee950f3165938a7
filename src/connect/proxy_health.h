#pragma once
// Whether the proxy works, from what tunnels report. Pure: time is told.
//
// Lost means: new connections are refused at once instead of hanging, one probe at a time finds out
// whether the proxy is back. A refused target is the proxy working; only what the proxy itself does
// wrong counts here.
#include <cstdint>

#include "base/clock.h"

namespace proxyvpn::connect {

enum class Trouble : std::uint8_t {
  None = 0,
  Unreachable,     // no address accepts a connection
  Authentication,  // 407 that our credentials do not answer
  NotHttp,         // answers, but not as an HTTP proxy
  Closed,          // accepts, and closes before it answers
  Slow,            // accepts, and does not answer in time
  Loop,            // the proxy's own connections come back to us
};

class ProxyHealth {
 public:
  // One bad answer may be about one target; this many in a row, with nothing good between, are not.
  static constexpr unsigned kStrikes = 3;
  static constexpr Duration kFirstRetry = milliseconds(250);
  static constexpr Duration kLastRetry = seconds(5);
  // A wrong password must not lock the account: fewer tries, further apart.
  static constexpr Duration kFirstAuthenticationRetry = seconds(5);
  static constexpr Duration kLastAuthenticationRetry = seconds(60);

  // The proxy has answered a CONNECT in good order (any final status but 407). True: it was lost.
  bool worked() noexcept;
  // What a tunnel or a probe met. True: with this report the proxy is lost (told once per loss).
  bool failed(Trouble trouble, TimePoint now) noexcept;
  // A TCP connection was made. Ends Unreachable, says nothing about the other troubles. True: it
  // was lost.
  bool connected() noexcept;

  [[nodiscard]] bool lost() const noexcept { return trouble_ != Trouble::None; }
  [[nodiscard]] Trouble trouble() const noexcept { return trouble_; }
  // While lost: when the next try is due.
  [[nodiscard]] TimePoint retry_at() const noexcept { return retry_at_; }
  // While lost: takes the due try. False: not yet.
  bool take_retry(TimePoint now) noexcept;
  // While lost: there is news of the proxy, the next try is due now.
  void retry_now(TimePoint now) noexcept { retry_at_ = now; }

 private:
  void back_off(TimePoint now) noexcept;
  Trouble trouble_ = Trouble::None;
  unsigned strikes_ = 0;
  Duration delay_ = kFirstRetry;
  TimePoint retry_at_{};
};

}  // namespace proxyvpn::connect
