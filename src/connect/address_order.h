#pragma once
// Several addresses of one proxy: in which order and at what times to try them (RFC 8305, "Happy
// Eyeballs"). Pure: no sockets, time is told.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/ip.h"

namespace proxyvpn::connect {

// RFC 8305 section 5: recommended; 100 ms to 2 s are sensible, less than 10 ms is forbidden.
inline constexpr Duration kConnectionAttemptDelay = milliseconds(250);
inline constexpr Duration kMinConnectionAttemptDelay = milliseconds(10);
// More addresses than this are not tried in one race.
inline constexpr std::size_t kMaxRaceAttempts = 32;

// RFC 8305 section 4: `sorted`, as getaddrinfo(3) gives them (RFC 6724), with the families taking
// turns; the family of the first address leads, with `first_family_count` addresses (at least 1)
// before the other has its first turn. Within a family the order stays. Doubles are left out.
// `winner`, when it is among them, comes first and its family counts as having had its turn.
std::vector<IpAddress> order_addresses(std::span<const IpAddress> sorted,
                                       std::optional<IpAddress> winner = std::nullopt,
                                       std::size_t first_family_count = 1);

// The addresses of a proxy from one resolution to the next, and which of them worked last.
class ProxyAddresses {
 public:
  // A new resolution. The last winner is kept when it is among them.
  void assign(std::span<const IpAddress> sorted);
  // In the order in which they are to be tried. Valid until the next non-const call.
  [[nodiscard]] std::span<const IpAddress> ordered() const noexcept { return ordered_; }
  // A race was won by / the connection attempt to this address failed.
  void won(const IpAddress& address);
  void failed(const IpAddress& address);
  [[nodiscard]] const std::optional<IpAddress>& winner() const noexcept { return winner_; }

 private:
  void reorder();
  std::vector<IpAddress> sorted_;
  std::vector<IpAddress> ordered_;
  std::optional<IpAddress> winner_;
};

// One race over `count` addresses. The caller starts what next() says, reports, and asks again
// after each report and at deadline(). An attempt is named by its place in the order.
class RaceSchedule {
 public:
  enum class State : std::uint8_t { Racing, Won, Failed };

  // The first attempt is due at `now`. No address at all: Failed from the start. `delay` below
  // kMinConnectionAttemptDelay is raised to it.
  RaceSchedule(std::size_t count, TimePoint now, Duration delay = kConnectionAttemptDelay) noexcept;

  // The attempt to start now, if one is due; it then counts as started.
  std::optional<std::size_t> next(TimePoint now) noexcept;
  // When next() has something to start if nothing is reported before; none when all are started.
  [[nodiscard]] std::optional<TimePoint> deadline() const noexcept;
  // A started attempt failed: the next one is due at once. Unknown and repeated reports are
  // ignored.
  void failed(std::size_t attempt, TimePoint now) noexcept;
  // A started attempt has connected. The first one wins; true: it is this one. The caller closes
  // the others (see pending()).
  bool connected(std::size_t attempt) noexcept;

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] std::optional<std::size_t> winner() const noexcept { return winner_; }
  // Started and neither failed nor the winner.
  [[nodiscard]] bool pending(std::size_t attempt) const noexcept;

 private:
  [[nodiscard]] static std::uint32_t bit(std::size_t attempt) noexcept {
    return std::uint32_t{1} << attempt;
  }
  std::size_t count_;
  std::size_t started_ = 0;
  std::uint32_t failed_ = 0;  // a bit for each attempt
  std::optional<std::size_t> winner_;
  State state_ = State::Racing;
  TimePoint due_;
  Duration delay_;
};

}  // namespace proxyvpn::connect
