#pragma once
// What the user asked for, checked. The command line (and later a file) ends here; everybody else
// sees only this.
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/log_render.h"
#include "base/clock.h"
#include "base/ip.h"
#include "connect/proxy_url.h"
#include "firewall/firewall.h"
#include "firewall/policy.h"
#include "netlink/plan.h"

namespace proxyvpn::app {

// The defaults that have no literal of their own type.
inline constexpr std::string_view kDefaultTunCidr = "10.255.255.1/30";
inline constexpr std::string_view kDefaultTunCidr6 = "fd70:7278:7976::1/126";

struct Config {
  // Proxy
  connect::ProxyUrl proxy;
  std::vector<IpAddress> proxy_ips;      // --proxy-ip: no resolution
  milliseconds connect_timeout{10'000};  // TCP connect and CONNECT reply together, per flow
  unsigned preconnect = 0;               // --preconnect: idle connections to the proxy held ready
  std::vector<IpAddress> source_addresses;  // --source-address: empty: the kernel chooses
  bool fast_open = true;                    // --no-fast-open

  // Network
  std::string tun_name = "tun0";
  Cidr tun_cidr{};                // --tun-cidr, default 10.255.255.1/30
  std::optional<Cidr> tun_cidr6;  // --tun-cidr6, default fd70:7278:7976::1/126; empty: "none" given
  std::uint32_t mtu = 1500;
  std::vector<IpAddress> dns;  // --dns and --allow-dns; empty: from the system
  std::vector<Cidr> exclude;   // --exclude
  bool allow_lan = false;
  std::vector<uid_t> exempt_users;  // --exempt-user
  bool killswitch = true;
  bool egress_guard = false;
  bool persist_killswitch = false;
  firewall::Backend backend = firewall::Backend::Auto;  // --firewall
  firewall::Marks marks{};                       // --mark-capture, --mark-bypass, --mark-mask
  std::uint32_t table = netlink::kDefaultTable;  // --route-table
  std::uint32_t rule_priority = netlink::kDefaultRulePriority;          // --rule-priority
  std::uint32_t fallback_priority = netlink::kDefaultFallbackPriority;  // --fallback-priority
  bool offload = true;                                                  // --no-offload

  // General
  std::string state_dir = "/run/proxyvpn";
  bool state_dir_given = false;                // --state-dir was on the command line
  unsigned workers = 0;                        // 0: by the number of cores
  std::uint64_t memory_budget = 256ull << 20;  // bytes for all windows of all flows of a worker
  std::optional<Endpoint> metrics;             // --metrics: where Prometheus asks
  log::Level log_level = log::Level::Info;     // --log-level, --verbose
  LogFormat log_format = LogFormat::Auto;      // --log-format
  bool verbose = false;                        // one line per connection: log_level is Debug
  bool dry_run = false;
  bool keep_logs = false;
  bool detach = false;
};

}  // namespace proxyvpn::app
