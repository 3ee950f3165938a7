#pragma once
// The other side of DNS: a question that somebody asks us, and short answers to it (RFC 1035, the
// size of answers from RFC 6891). Bytes in, values out: no sockets, no clock.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ip.h"

namespace proxyvpn::dns {

inline constexpr std::size_t kHeaderBytes = 12;
inline constexpr std::size_t kPlainUdpBytes = 512;  // what a client takes that says nothing else

// Of the header's second word and the registry of response codes (RFC 1035 4.1.1).
enum class Rcode : std::uint8_t {
  NoError = 0,
  Servfail = 2,
  NxDomain = 3,
  NotImp = 4,
  Refused = 5
};

struct Question {
  std::uint16_t id = 0;
  std::string name;  // lower case, without the trailing dot, escaped as the library escapes
  std::uint16_t type = 0;
  std::uint16_t klass = 1;                   // 1 is IN
  std::size_t end = kHeaderBytes;            // where the question ends in its message
  std::size_t largest_udp = kPlainUdpBytes;  // what the client takes over UDP
  bool edns = false;                         // it sent an OPT record
};

// Empty for what is no single question of a client: a response, another operation, no question or
// several, a record that does not parse. Nothing is to be answered to that.
std::optional<Question> parse_question(std::span<const std::uint8_t> message);

// True when only letters, digits, '-' and '_' stand between the dots, and no label is empty: what
// may go to an HTTP proxy as a host.
bool is_host_name(const std::string& name) noexcept;

// Answers to `message`, from which `question` was parsed: one address of the family that the type
// says, or no record and a code. `ttl` in seconds.
std::vector<std::uint8_t> answer_address(std::span<const std::uint8_t> message,
                                         const Question& question, const IpAddress& address,
                                         std::uint32_t ttl);
std::vector<std::uint8_t> answer_nothing(std::span<const std::uint8_t> message,
                                         const Question& question, Rcode code);

// `answer` as it may go over UDP to a client that takes `limit` bytes: itself, or its header and
// question alone with TC set, so that the client asks again over TCP.
std::vector<std::uint8_t> fit_udp(std::span<const std::uint8_t> answer, const Question& question);

std::uint16_t message_id(std::span<const std::uint8_t> message) noexcept;  // 0 below two bytes
void set_message_id(std::span<std::uint8_t> message, std::uint16_t id) noexcept;

}  // namespace proxyvpn::dns
