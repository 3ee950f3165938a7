#pragma once
// What supervisor and worker say to each other over their SOCK_SEQPACKET socketpair. Fixed-size
// fields in the machine's own byte order (both ends are one binary); every message is checked for
// its exact length and its ranges before anything in it is used. No text: the supervisor parses
// nothing that came from the network, so a worker tells it enumerators and numbers only.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {

inline constexpr std::size_t kMaxSocketsPerMessage =
    32;  // SCM_MAX_FD is 253; batches of 32 measured free
inline constexpr std::size_t kMaxProxyAddresses = 32;
inline constexpr std::size_t kMaxCredential = 4096;  // bytes of a user name, of a password
inline constexpr std::size_t kMaxWorkerMessage = 2 * kMaxCredential + 64;

// worker -> supervisor ---------------------------------------------------------------------------

struct NeedSockets {  // please send `count` marked TCP sockets of this family
  Family family = Family::V4;
  std::uint8_t count = 0;  // 1 .. kMaxSocketsPerMessage
};

enum class Trouble : std::uint8_t {
  Unreachable = 1,     // connect(2) failed or timed out on every address
  Authentication = 2,  // 407 although credentials were sent, or none were given
  NotHttp = 3,         // answers, but not as an HTTP proxy
  Closed = 4,          // accepts and closes before it answers
  Slow = 5,            // accepts and does not answer in time
  Loop = 6,            // our own proxy's connections come back into the TUN
};
struct ProxyLost {  // told once per loss; new flows are refused at once until ProxyBack
  Trouble trouble = Trouble::Unreachable;
  std::uint16_t status = 0;     // HTTP status when there was one
  std::uint16_t sys_errno = 0;  // of the last connect(2), 0 when none
};
struct ProxyBack {};
struct Resolve {
};  // every address failed: please look the name up again (the supervisor limits the rate)
struct Ready {};  // event loop runs, TUN is read
struct Beat {};   // once a second while there is traffic or not: the watchdog's food

// supervisor -> worker ---------------------------------------------------------------------------

struct Sockets {  // fds travel beside it (SCM_RIGHTS), already marked, non-blocking, close-on-exec
  Family family = Family::V4;
  std::uint8_t count = 0;  // may be 0: none can be had now (EMFILE, ENOBUFS), ask again later
};
struct ProxyAddresses {             // replaces the list, in order of preference (RFC 6724)
  std::vector<Endpoint> endpoints;  // 1 .. kMaxProxyAddresses
};
struct Stop {};  // reset every flow, then exit
struct SetVerbose {
  bool verbose = false;
};
// The next two are for tunnels that begin from now on.
struct SetOptions {
  std::uint32_t connect_timeout_ms = 10'000;  // not 0
  std::uint32_t preconnect = 0;
  log::Level log_level = log::Level::Info;
};
// A secret: whoever encodes or receives one wipes the bytes.
struct SetCredentials {
  bool given = false;    // false: the proxy asks for none
  std::string username;  // at most kMaxCredential, as the password
  Secret password;
};
struct KillFlow {
  std::uint64_t id = 0;
};
// Write the table of flows (flow_dump.h) into the first descriptor beside it, a memory file; then
// close both: the end of the second, a pipe, tells the reader.
struct DumpFlows {
  std::uint32_t most = 0;  // records
};

using ToSupervisor = std::variant<NeedSockets, ProxyLost, ProxyBack, Resolve, Ready, Beat>;
using ToWorker = std::variant<Sockets, ProxyAddresses, Stop, SetVerbose, SetOptions, SetCredentials,
                              KillFlow, DumpFlows>;

std::vector<std::uint8_t> encode(const ToSupervisor& message);
std::vector<std::uint8_t> encode(const ToWorker& message);
// Empty for anything that is not exactly one well-formed message.
std::optional<ToSupervisor> decode_to_supervisor(std::span<const std::uint8_t> bytes);
std::optional<ToWorker> decode_to_worker(std::span<const std::uint8_t> bytes);

// One datagram with descriptors. Never blocks (MSG_DONTWAIT); false: the peer's queue is full or it
// is gone (errno tells).
bool send_message(int channel, std::span<const std::uint8_t> bytes,
                  std::span<const int> descriptors = {}) noexcept;
struct Received {
  enum class Status : std::uint8_t { Message, Nothing, Closed } status = Status::Nothing;
  std::vector<std::uint8_t> bytes;  // empty for a message longer than kMaxWorkerMessage
  // May be fewer than were sent: what does not fit into this process's table of descriptors is lost
  // (EMFILE, unix(7)).
  std::vector<UniqueFd> descriptors;
};
Received receive_message(int channel);

}  // namespace proxyvpn::app
