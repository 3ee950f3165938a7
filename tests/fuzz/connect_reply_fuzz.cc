// What a hostile proxy can say to a CONNECT, over several connections and in any pieces.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "connect/http_connect.h"

using namespace proxyvpn::connect;

namespace {

using Bytes = std::span<const std::uint8_t>;

std::string fixed_hex() { return "00112233445566778899aabbccddeeff"; }

void require(bool holds) {
  if (!holds) std::abort();
}

struct Ending {
  Outcome outcome = Outcome::NeedMore;
  int status = 0;
  std::string_view reason;
  std::size_t consumed = 0;  // of the whole stream
  friend bool operator==(const Ending&, const Ending&) = default;
};

// The first reply, fed in pieces of `piece` bytes. A retry compares without the connection's fate:
// bytes that come behind a 407 in the same piece cost the connection, later ones are found out
// later.
Ending first_reply(Bytes stream, std::size_t piece, bool credentials) {
  const auto authenticator = make_authenticator(
      credentials ? std::optional(Credentials{"user", proxyvpn::Secret("pass")}) : std::nullopt,
      fixed_hex);
  HttpConnect connect({"192.0.2.1", 443}, *authenticator);
  static_cast<void>(connect.request());
  Ending ending;
  while (!stream.empty() && ending.outcome == Outcome::NeedMore) {
    const auto bytes = stream.first(piece < stream.size() ? piece : stream.size());
    const Reply reply = connect.feed(bytes);
    require(reply.consumed <= bytes.size());
    require(reply.outcome != Outcome::NeedMore || reply.consumed == bytes.size());
    ending.outcome = reply.outcome;
    ending.status = reply.status;
    ending.reason = reply.reason;
    ending.consumed += reply.consumed;
    stream = stream.subspan(bytes.size());
  }
  if (ending.outcome == Outcome::Malformed || ending.outcome == Outcome::Retry) ending.consumed = 0;
  return ending;
}

void check(const Reply& reply, Bytes bytes) {
  switch (reply.outcome) {
    case Outcome::NeedMore:
      break;
    case Outcome::Established:
      require(reply.status >= 200 && reply.status < 300);
      require(reply.consumed > 0 && bytes[reply.consumed - 1] == '\n');
      break;
    case Outcome::Refused:
      require(reply.status >= 100 && !reply.reason.empty());
      break;
    case Outcome::Retry:
      require(reply.status == 407 || reply.reconnect);
      break;
    case Outcome::Malformed:
      require(!reply.reason.empty());
      // The scanner in front of http_parser lets nothing through that http_parser refuses.
      require(reply.reason != "the proxy's answer is not valid HTTP");
      break;
  }
}

// The whole conversation: each retry is sent, also when the proxy closes.
void converse(Bytes stream, std::uint8_t options) {
  const auto authenticator =
      make_authenticator(Credentials{"user", proxyvpn::Secret("pass")}, fixed_hex);
  unsigned tunnels = 0;
  while (!stream.empty() && tunnels++ < 8) {
    HttpConnect connect({"192.0.2.1", 443}, *authenticator);
    static_cast<void>(connect.request());
    unsigned retries = 0;
    for (;;) {
      const std::size_t piece = 1 + options * std::size_t{7};
      const auto bytes = stream.first(piece < stream.size() ? piece : stream.size());
      const Reply reply = bytes.empty() ? connect.end_of_stream() : connect.feed(bytes);
      check(reply, bytes);
      stream = stream.subspan(reply.outcome == Outcome::NeedMore ? bytes.size() : reply.consumed);
      if (reply.outcome == Outcome::Retry) {
        // One more than the answers for a connection that was closed in spite of its promise, each.
        require(++retries <= 2 * kMaxAnswers);
        const std::string request = connect.request();
        require(request.ends_with("\r\n\r\n") && request.find('\n') + 1 < request.size());
      } else if (reply.outcome != Outcome::NeedMore) {
        require(connect.feed(bytes).outcome == reply.outcome);
        if (!stream.empty()) stream = stream.subspan(1);
        break;
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::uint8_t options = data[0];
  const Bytes stream(data + 1, size - 1);
  const bool credentials = (options & 1) != 0;
  const Ending whole = first_reply(stream, stream.size() + 1, credentials);
  require(whole == first_reply(stream, 1, credentials));
  require(whole == first_reply(stream, 2 + options / 2, credentials));
  converse(stream, options);
  return 0;
}
