#pragma once
// The worker's stock of marked sockets. The supervisor makes them (it alone may set SO_MARK), this
// keeps enough of them at hand that a burst of connections does not wait for it.
#include <algorithm>
#include <deque>
#include <functional>

#include "app/worker_protocol.h"
#include "connect/socket_source.h"

namespace proxyvpn::app {

class SocketPool final : public connect::SocketSource {
 public:
  // `ask` sends NeedSockets; false: the channel is full, asked again later.
  explicit SocketPool(std::function<bool(const NeedSockets&)> ask) : ask_(std::move(ask)) {}

  UniqueFd take(Family family) noexcept override;
  // Sockets that the supervisor sent; none for a request that it could not fulfil.
  void put(Family family, std::vector<UniqueFd> sockets) noexcept;
  // Have a small stock of this family from now on.
  void want(Family family) noexcept {
    stock(family).wanted = std::max(stock(family).wanted, kSmallest);
  }
  // Call once a second: what a burst has left over goes back when nothing was taken for a while.
  void trim() noexcept;
  // Asks for what is missing. Call once per turn.
  void refill() noexcept;
  // A request was answered with nothing: when to ask again is the caller's timer.
  [[nodiscard]] bool starved() const noexcept { return v4_.starved || v6_.starved; }
  void retry() noexcept { v4_.starved = v6_.starved = false; }

 private:
  // Enough for what a turn of the loop takes; grows when a burst has emptied the stock.
  static constexpr std::size_t kSmallest = 16;
  static constexpr std::size_t kLargest = 256;
  static constexpr unsigned kQuietSeconds = 5;
  struct Stock {
    std::deque<UniqueFd> sockets;
    std::size_t wanted = 0;  // level to keep; 0 until the family is first used
    std::size_t asked = 0;   // on their way
    unsigned quiet = 0;      // seconds without a take
    bool starved = false;
  };
  Stock& stock(Family family) noexcept { return family == Family::V4 ? v4_ : v6_; }
  void refill(Family family, Stock& stock) noexcept;
  static void trim(Stock& stock) noexcept;

  std::function<bool(const NeedSockets&)> ask_;
  Stock v4_;
  Stock v6_;
};

}  // namespace proxyvpn::app
