#pragma once
// Who answers a DNS question that came out of the TUN. How the question came (a datagram, a stream)
// and how an answer is found (made up here, asked for elsewhere) know only this of each other.
#include <cstdint>
#include <functional>
#include <span>

namespace proxyvpn::names {

enum class Transport : std::uint8_t { Datagram, Stream };

class Answerer {
 public:
  using Done = std::function<void(std::span<const std::uint8_t> answer)>;
  virtual ~Answerer() = default;
  // `message` is a whole DNS message as a client sent it. `done` gets the whole answer with the
  // client's id, at once or later, at most once; never when there is nothing to say. It is kept for
  // a few seconds at most, so what it refers to must be checked for being there still.
  // Datagram: the answer fits what the client takes over UDP.
  virtual void ask(std::span<const std::uint8_t> message, Transport transport, Done done) = 0;
};

}  // namespace proxyvpn::names
