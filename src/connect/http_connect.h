#pragma once
// The HTTP side of a tunnel as a codec: bytes in, decisions out. No sockets, no clock.
// CONNECT: RFC 9110 section 9.3.6; message syntax: RFC 9112; Basic: RFC 7617; Digest: RFC 7616.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/ip.h"
#include "base/secret.h"

namespace proxyvpn::connect {

// What goes into the request line: an address today; a name when a flow knows one.
struct Target {
  std::string host;  // name or address literal, IPv6 without brackets
  std::uint16_t port = 0;
};
Target to_target(const Endpoint& endpoint);
// "host:port" as CONNECT wants it; IPv6 in brackets (RFC 9112 3.2.3).
std::string authority(const Target& target);

struct Credentials {
  std::string username;
  Secret password;  // empty is a password
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// Neither part may hold a control character, the user name no colon (RFC 7617 section 2). Both may
// be empty. The error names the part, never the text.
Result<> check_credentials(const Credentials& credentials);

// Limits for what a proxy may say before the tunnel stands.
inline constexpr std::size_t kMaxReplyBytes =
    std::size_t{64} * 1024;  // all heads together, 1xx included
inline constexpr unsigned kMaxReplyHeaders = 128;
inline constexpr unsigned kMaxInterimReplies = 16;
inline constexpr unsigned kMaxAnswers = 3;  // challenges that one tunnel answers (stale nonces)
inline constexpr std::size_t kMaxRefusalBody =
    std::size_t{256} * 1024;  // read past it to reuse the connection for Digest

// How a tunnel's set-up ended or where it stands.
enum class Outcome : std::uint8_t {
  NeedMore,     // feed more bytes
  Established,  // 2xx; bytes behind the head are the tunnel's
  Refused,    // a final status that is neither 2xx nor a challenge that can be answered; see status
  Retry,      // 407 with a challenge that can be answered: send request() again, see reconnect
  Malformed,  // not HTTP or beyond a limit; `reason` names it
};

struct Reply {
  Outcome outcome = Outcome::NeedMore;
  int status = 0;          // 200, 407, ... 0 when none was parsed
  bool reconnect = false;  // Retry: the proxy closes this connection, send the request on a new one
  std::size_t consumed =
      0;  // bytes of this feed() that belong to the reply; the rest is the tunnel's
  std::string_view
      reason;  // Malformed, Refused: fixed text for the log, "the proxy speaks TLS", ...
};

// Shared by all tunnels through one proxy: credentials, and what its challenges taught (scheme,
// realm, nonce, nonce count), so that only the first tunnel pays for a Digest challenge.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // The value of Proxy-Authorization for a CONNECT to `authority`, or empty when there are no
  // credentials or the scheme is not known yet to be Digest... Basic is sent at once (no challenge
  // needed).
  virtual std::string authorization(std::string_view authority) = 0;
  // Takes all Proxy-Authenticate values of one 407. `sent`: the value that was refused.
  // True: authorization() now gives a different, promising answer. False: the credentials are
  // wrong, or no scheme is supported; `why` then says which.
  virtual bool challenge(std::span<const std::string> values, std::string_view sent,
                         std::string_view* why) = 0;
  // `sent`, a value of authorization(), is done with, and it was not refused with a 407: the nonce
  // in it is free for another tunnel. `accepted`: the proxy answered it with a status other than
  // 407. `info`: Proxy-Authentication-Info of that answer (RFC 7615), empty when there was none.
  // HttpConnect calls it exactly once per value, unless it calls challenge() for it.
  virtual void release(std::string_view sent, bool accepted, std::string_view info) {
    static_cast<void>(sent);
    static_cast<void>(accepted);
    static_cast<void>(info);
  }
};
// `random_hex`: 16 random bytes as hex for client nonces, given by the caller so that tests can fix
// it.
std::unique_ptr<Authenticator> make_authenticator(std::optional<Credentials> credentials,
                                                  std::string (*random_hex)());

// One CONNECT over one or (Digest) two connections.
class HttpConnect {
 public:
  // `authenticator` outlives it.
  HttpConnect(const Target& target, Authenticator& authenticator);
  ~HttpConnect();
  HttpConnect(HttpConnect&&) noexcept;
  HttpConnect& operator=(HttpConnect&&) noexcept;

  // The bytes to send at the start, and again after Outcome::Retry. Contains the credential: wipe
  // it.
  std::string request();
  // Bytes from the proxy. After anything but NeedMore and Retry the codec is finished.
  Reply feed(std::span<const std::uint8_t> bytes);
  // The proxy closed the connection. Retry when a 407 had come whole but for its body, else
  // Malformed
  // ("the proxy closed the connection before it answered").
  Reply end_of_stream();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace proxyvpn::connect
