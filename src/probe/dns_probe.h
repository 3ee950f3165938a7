#pragma once
// One DNS question, asked over UDP, over TCP or over TCP through an HTTP proxy, and everything that
// was learned on the way: values for a report, and for whoever else wants to know.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/ip.h"
#include "connect/proxy_url.h"
#include "dns/message.h"
#include "probe/server.h"

namespace proxyvpn::probe {

// Which step a probe failed in.
enum class Step : std::uint8_t {
  Send,          // UDP or direct TCP: no route, refused by the firewall or by the server's host
  Wait,          // the question went out, no answer came in time
  ReachProxy,    // the proxy's name, its TCP port, or no HTTP answer from it
  ProxyRefused,  // it answered, and not with a tunnel
  Answer,        // what came is no DNS answer to the question
  Rcode,         // it is one, and says anything but NOERROR
};

struct ProbeOptions {
  std::string name = "ifconfig.me";
  dns::RecordType type = dns::RecordType::A;
  Server server;
  milliseconds timeout{1500};  // for all steps together
  // UDP: the question goes out once more when nothing came for so long. Unset: half of `timeout`.
  std::optional<milliseconds> resend_after;
  bool tcp = false;                          // TCP instead of UDP
  std::optional<connect::ProxyUrl> proxy;    // TCP through CONNECT
  std::optional<std::uint32_t> socket_mark;  // SO_MARK of the connection to the proxy
};

enum class Transport : std::uint8_t { Udp, Tcp, TcpThroughProxy };

using Microseconds = std::chrono::microseconds;
inline Microseconds since(TimePoint start) {
  return std::chrono::duration_cast<Microseconds>(Clock::now() - start);
}

struct Times {                            // each from the step's own start
  std::optional<Microseconds> resolve;    // the proxy's name; unset for an address
  std::optional<Microseconds> connect;    // TCP handshake with the proxy or the server
  std::optional<Microseconds> handshake;  // CONNECT, a Digest challenge included
  std::optional<Microseconds> dns;        // question out to answer in
  Microseconds total{};
};

struct Failure {
  Step step = Step::Send;
  Error error;
};

struct ProbeReport {
  std::string question;  // "ifconfig.me. IN A"
  Server server;
  Transport transport = Transport::Udp;  // of the last try
  std::optional<Endpoint> proxy;         // the address in use
  int proxy_status = 0;                  // last status of CONNECT, 0 for none
  Times times;
  std::optional<dns::Answer> answer;
  std::vector<std::string> notes;  // "the answer was truncated, asked again over TCP", ...
  std::optional<Failure> failure;  // empty: NOERROR
};

// InvalidArgument for a name that cannot be asked for. Everything that happens after that is in the
// report. Blocks for at most `options.timeout`.
Result<ProbeReport> run_probe(const ProbeOptions& options);

}  // namespace proxyvpn::probe
