#pragma once
// `doctor` on a set-up that is in force: rules, routes, device and table as the kernel has them,
// the daemon, and probes through the tunnel and against the killswitch. Pure, from values.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/check.h"
#include "app/host_facts.h"
#include "base/error.h"
#include "base/ip.h"
#include "firewall/inspect.h"
#include "netlink/routing.h"
#include "probe/refusal_probe.h"

namespace proxyvpn::app {

// What the rules with our protocol number say: their marks and table, whatever options were given.
struct OurRules {
  bool any = false;                     // of either family
  std::optional<std::uint32_t> bypass;  // mark of the daemon's own connections
  std::optional<std::uint32_t> table;
};
OurRules find_our_rules(const netlink::Snapshot& network);

// A TCP connection as any program makes one.
struct TunnelProbe {
  std::string target;  // "192.0.2.80:443"
  std::uint16_t port = 0;
  std::optional<Error> error;
  std::int64_t microseconds = 0;
};
// A datagram that the killswitch must refuse.
struct RefusalProbe {
  std::string name;    // "refused-udp", "refused-dns", ...
  std::string target;  // "192.0.2.1:9 (UDP)"
  probe::RefusalReport report;
};

struct DaemonFacts {
  bool found = false;   // it answers on its control socket
  std::string state;    // "Up", "Proxy lost (shut)", ... as `status` says
  bool flows = false;   // traffic is supposed to flow in this state
  std::string detail;   // a sentence where the state needs one
  std::string trouble;  // of the proxy
  bool killswitch = true;
  unsigned workers = 0;
  unsigned workers_wanted = 0;
  pid_t pid = 0;
  std::string problem;  // why it was not asked, when somebody is there who should answer
};

struct RunningFacts {
  bool up = false;      // a daemon runs
  bool shut = false;    // none does, and the machine is shut by a crashed run or by `lock`
  bool locked = false;  // the latter
  DaemonFacts daemon;
  std::optional<firewall::TableState> table;  // empty: see table_problem
  std::string table_problem;
  netlink::Snapshot network;
  std::string tun_name;
  std::vector<TunnelProbe> tunnel;
  std::vector<RefusalProbe> refused;
  // What the daemon counted while the probes ran; empty where it does not tell.
  std::optional<std::uint64_t> counted_flows;
  std::optional<std::uint64_t> counted_refused;
};

Checks check_running(const RunningFacts& facts);

}  // namespace proxyvpn::app
