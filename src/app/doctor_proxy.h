#pragma once
// `doctor` on the proxy and the resolvers: what is asked, what came back, and what follows from it.
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/check.h"
#include "base/clock.h"
#include "base/ip.h"
#include "connect/proxy_url.h"
#include "probe/dns_probe.h"

namespace proxyvpn::app {

// A host that answers on the ports 443, 80 and 22, over IPv4 and IPv6.
inline constexpr const char* kDefaultTarget = "gitlab.com";
inline constexpr std::array<std::uint16_t, 3> kTargetPorts{443, 80, 22};

struct ProxyQuestions {
  std::optional<connect::ProxyUrl> proxy;  // none is known: only resolvers are asked
  std::string source;                      // where it comes from, for people
  std::vector<IpAddress> addresses;        // of the proxy; empty: its name is looked up
  std::string cannot_ask;                  // why the proxy cannot be asked from here; empty: it can
  std::optional<std::uint32_t> mark;       // SO_MARK that takes our connections around the tunnel
  bool password_known = true;              // false: the daemon has it, we do not
  std::vector<probe::Server> resolvers;
  std::string target = kDefaultTarget;
  milliseconds timeout{5000};  // for each question
};

// A TCP connection to one of the proxy's addresses.
struct Reached {
  Endpoint endpoint;
  std::optional<Error> error;
  probe::Microseconds time{};
};

// One CONNECT.
struct Attempt {
  enum class What : std::uint8_t { Address, Address6, Name } what = What::Address;
  std::string authority;  // "192.0.2.80:443"
  std::uint16_t port = 0;
  int status = 0;  // 0: no HTTP answer
  probe::Microseconds time{};
  std::optional<probe::Failure> failure;
  std::optional<std::int64_t> clock_ahead;  // seconds by which our clock is ahead of the target's
};

struct ProxyAnswers {
  std::optional<Error> lookup_error;
  std::vector<Endpoint> addresses;
  std::vector<Reached> reached;
  std::vector<Attempt> attempts;
  std::vector<probe::ProbeReport> resolvers;  // A of a name, one for each server
  std::vector<IpAddress> target;              // what they answered, or the target itself
};

// Asks everything, concurrently where one answer does not need another. Waits at most about four
// times `timeout`. The caller has one thread.
ProxyAnswers ask_proxy_and_resolvers(const ProxyQuestions& questions);

Checks judge_proxy(const ProxyQuestions& questions, const ProxyAnswers& answers);
Checks judge_resolvers(const ProxyAnswers& answers);

// Each in a thread of its own; returns when all are done.
void run_all(const std::vector<std::function<void()>>& tasks);

}  // namespace proxyvpn::app
