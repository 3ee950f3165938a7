#pragma once
// The part of a tunnel that exists only until the proxy has answered. Private to the tunnel's
// files.
#include <sys/types.h>

#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "connect/tunnel.h"

namespace proxyvpn::connect {

// recv(2) without waiting, once more when a signal came in between.
ssize_t receive(int fd, std::span<std::uint8_t> buffer) noexcept;

// One connection attempt to one of the proxy's addresses.
struct Tunnel::Attempt final : public event::Handler {
  Attempt(Tunnel& owner, std::size_t at, UniqueFd socket)
      : tunnel(owner), index(at), fd(std::move(socket)) {}
  void on_event(std::uint32_t events) noexcept override { tunnel.attempt_event(*this, events); }
  Tunnel& tunnel;
  std::size_t index;
  UniqueFd fd;
};

struct Tunnel::Setup {
  Setup(Tunnel& owner, const Target& target, std::shared_ptr<Authenticator> shared,
        std::vector<IpAddress> order, TimePoint now)
      : tunnel(owner),
        authenticator(std::move(shared)),
        codec(target, *authenticator),
        addresses(std::move(order)),
        schedule(addresses.size(), now),
        deadline([&owner] { owner.set_up_timed_out(); }),
        next_attempt([&owner] { owner.race(); }) {}
  ~Setup();
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  void drop_attempts() noexcept;
  void drop_request() noexcept;

  Tunnel& tunnel;
  std::shared_ptr<Authenticator> authenticator;  // outlives the codec
  HttpConnect codec;
  std::vector<IpAddress> addresses;
  RaceSchedule schedule;
  std::size_t primary = 0;      // the attempt on the tunnel's own descriptor
  std::list<Attempt> attempts;  // beside it; a list, as the reactor knows their addresses
  event::Timer deadline;        // of everything until the answer
  event::Timer next_attempt;
  std::string request;              // empty when it has been sent
  std::size_t sent = 0;             // bytes of it
  std::vector<std::uint8_t> early;  // the tunnel's first bytes
  int last_error = 0;               // of connect(2)
  bool connected_once = false;
  bool in_syn = false;            // (the beginning of) the request went with the SYN
  bool ready_connection = false;  // opened ahead: the proxy may have closed it meanwhile
};

}  // namespace proxyvpn::connect
