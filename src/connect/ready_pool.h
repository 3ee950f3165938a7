#pragma once
// Connections to the proxy opened ahead, so that a new flow costs one round trip to the proxy
// rather than two. Adaptive: as many as flows started lately, at most `most`, none when nothing
// happens.
#include <functional>
#include <list>
#include <memory>

#include "base/clock.h"
#include "base/ip.h"
#include "base/unique_fd.h"
#include "event/reactor.h"

namespace proxyvpn::connect {

class ReadyPool {
 public:
  // Longer than a page takes to load, shorter than any proxy's idle limit.
  static constexpr Duration kIdleLimit = seconds(3);

  // `open` starts a non-blocking connect(2) to the proxy's preferred address and gives the socket,
  // or an invalid one when there is none to be had now.
  ReadyPool(event::Reactor& reactor, std::size_t most, std::function<UniqueFd(IpAddress*)> open);

  // A connected socket that nothing was sent on, or an invalid one. Counts as demand. The socket is
  // not watched by the reactor any more.
  UniqueFd take(IpAddress* address) noexcept;
  // Opens what the demand of the last second asks for. Once per turn.
  void refill() noexcept;
  void set_most(std::size_t most) noexcept { most_ = most; }
  // Closes all: the proxy has changed or is lost.
  void clear() noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return idle_.size(); }

 private:
  struct Idle final : event::Handler {
    Idle(ReadyPool& owner, UniqueFd socket, IpAddress to, TimePoint when)
        : pool(owner), fd(std::move(socket)), address(to), opened(when) {}
    void on_event(std::uint32_t events) noexcept override { pool.on_event(*this, events); }
    ReadyPool& pool;
    UniqueFd fd;
    IpAddress address;
    TimePoint opened;
    bool connected = false;
  };
  void on_event(Idle& idle, std::uint32_t events) noexcept;
  void expire() noexcept;

  event::Reactor& reactor_;
  std::size_t most_;
  std::function<UniqueFd(IpAddress*)> open_;
  std::list<Idle> idle_;  // oldest first
  event::Timer expiry_;
  std::size_t demand_ = 0;         // takes in the current second
  std::size_t recent_demand_ = 0;  // and in the one before
  TimePoint second_began_{};
};

}  // namespace proxyvpn::connect
