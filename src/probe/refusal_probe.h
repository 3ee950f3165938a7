#pragma once
// One datagram that a killswitch must refuse, and one byte of HTTP that a tunnel must carry.
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/ip.h"
#include "probe/bounded_io.h"

namespace proxyvpn::probe {

enum class Refusal : std::uint8_t {
  AtOnce,    // the kernel refused it: errno tells how
  Answered,  // somebody answered
  Silent,    // it left, or was dropped: nothing came back in time
};
struct RefusalReport {
  Refusal outcome = Refusal::Silent;
  int sys_errno = 0;  // AtOnce only
};
// Sends one small datagram to `to` and waits for what comes back. No privilege.
RefusalReport probe_refusal(const Endpoint& to, const Deadline& deadline);

// Asks the web server at the other end of a connected stream for its head (HEAD / HTTP/1.1) and
// answers its Date in seconds since the epoch (RFC 9110 section 6.6.1). NotFound: it sent none.
Result<std::int64_t> ask_date(int fd, const std::string& host, const Deadline& deadline);
// The Date field of a response head, "HTTP/1.1 ... CRLF CRLF"; for tests.
Result<std::int64_t> parse_date(const std::string& head);

}  // namespace proxyvpn::probe
