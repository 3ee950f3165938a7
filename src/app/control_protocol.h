#pragma once
// What is said on the control socket: one request line per connection, one reply, end of stream.
// A request is a verb ("status\n"), for some with a flow's number ("kill-flow 3.1245\n"). A reply
// begins with "ok" or "error: <sentence>"; the lines
// behind it are "key value". `down` gets "ok" at once, "done" or "error: ..." when the machine is
// clean, and the end of the stream when the daemon ends.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace proxyvpn::app {

enum class Verb : std::uint8_t { Ping, Status, Counters, Down, Flows, KillFlow, Reload, Direct };
std::string_view to_string(Verb verb) noexcept;

inline constexpr std::size_t kMaxRequest = 128;       // bytes with the newline
inline constexpr std::size_t kMostDescriptors = 128;  // with one reply; SCM_MAX_FD is 253
inline constexpr std::size_t kMaxReply = std::size_t{256} * 1024;  // what a client reads at most

struct Request {
  Verb verb = Verb::Ping;
  std::uint64_t flow = 0;  // KillFlow alone
  friend bool operator==(const Request&, const Request&) = default;
};

// A request as it arrives, in pieces of any size.
class RequestReader {
 public:
  enum class State : std::uint8_t { NeedMore, Complete, Invalid };
  // Bytes behind the newline make the request invalid: nothing is pipelined.
  State feed(std::string_view bytes);
  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] const Request& request() const noexcept { return request_; }  // Complete only
  [[nodiscard]] const char* problem() const noexcept { return problem_; }     // Invalid only

 private:
  State refuse(const char* problem) noexcept;
  State understand() noexcept;
  std::string line_;
  State state_ = State::NeedMore;
  Request request_;
  const char* problem_ = "";
};

using Fields = std::vector<std::pair<std::string, std::string>>;

std::string request_line(const Request& request);
// Control characters in keys and values become '?', spaces and colons in keys '_'.
std::string ok_reply(const Fields& fields);
std::string error_reply(std::string_view sentence);

struct ControlReply {
  bool ok = false;
  std::string problem;  // the sentence behind "error: "
  Fields fields;
};
// A whole reply. Code::Protocol for anything that is not one.
Result<ControlReply> parse_reply(std::string_view text);

}  // namespace proxyvpn::app
