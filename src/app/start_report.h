#pragma once
// What `up` says when it is up, and what `status` answers, as text made of values.
#include <cstdint>
#include <string>
#include <vector>

#include "app/control_protocol.h"
#include "app/worker_pool.h"
#include "base/clock.h"
#include "base/ip.h"
#include "firewall/firewall.h"

namespace proxyvpn::app {

enum class RunState : std::uint8_t { Starting, Up, ProxyLost, WorkerLost, Stopping };
// The word that a person reads first: "Up", "Proxy lost (shut)", ...
std::string_view to_string(RunState state) noexcept;

struct RunFacts {
  RunState state = RunState::Starting;
  std::string proxy_url;          // without the password
  std::vector<Endpoint> proxies;  // in order of preference
  std::string trouble;            // of the proxy, when it is lost
  std::string tun_name;
  std::vector<Cidr> tun_addresses;
  bool killswitch = true;
  std::string backend;  // "nftables"
  std::vector<IpAddress> resolvers;
  std::int64_t started = 0;  // seconds since the epoch
  std::int64_t now = 0;
  unsigned workers = 0;  // that run
  unsigned workers_wanted = 0;
};

// A few lines for the terminal: what is in force, and how to stop it.
std::vector<std::string> start_lines(const RunFacts& facts, bool detached);
// "DNS bypass IPs: [192.0.2.53, 192.0.2.54]"
std::string dns_line(const std::vector<IpAddress>& resolvers);

Fields status_fields(const RunFacts& facts, const WorkerTotals& totals,
                     const std::vector<firewall::Counter>& refused);
Fields counter_fields(const std::vector<firewall::Counter>& refused);
// Fields as aligned lines: "proxy       192.0.2.10:8080".
std::string aligned(const Fields& fields);

}  // namespace proxyvpn::app
