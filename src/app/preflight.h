#pragma once
// Everything that can be known to go wrong, before anything on the machine changes. Pure: judges
// Config and HostFacts; each finding is a whole sentence with the value and the way out.
#include <string>
#include <vector>

#include "app/check.h"
#include "app/config.h"
#include "app/host_facts.h"
#include "base/ip.h"

namespace proxyvpn::app {

// What to do where nothing sets rules.
inline constexpr const char* kPacketFilterAdvice =
    "load nf_tables and its modules (sudo modprobe nf_tables nft_ct nft_reject_inet), or install "
    "nft or "
    "iptables";

struct Findings {
  std::vector<std::string> errors;    // `up` must not go on
  std::vector<std::string> warnings;  // it may, and the person should know
};

// All checks. With --dry-run, which needs no privilege and changes nothing, what only matters for
// doing it (capability, TUN device, packet filter, another instance) is a warning.
Findings preflight(const Config& config, const HostFacts& facts);

// What can be said once the proxy's addresses are known (--proxy-ip or resolved).
Findings check_proxies(const Config& config, const HostFacts& facts,
                       const std::vector<Endpoint>& proxies);

// What preflight() is made of, for `doctor` too. Each adds at least one check: Ok with what is
// there, when nothing is wrong.
// capability, tun-device
void check_process(const Config& config, const HostFacts& facts, Checks& checks);
// firewall
void check_firewall(const Config& config, const HostFacts& facts, Checks& checks);
// instance: another daemon
void check_instance(const Config& config, const HostFacts& facts, Checks& checks);
// egress-guard (only when it is asked for), descriptors
void check_limits(const Config& config, const HostFacts& facts, Checks& checks);
// tun-name, route-table: what must be free before `up`
void check_free(const Config& config, const HostFacts& facts, Checks& checks);
// tun-cidr, tun-cidr6, ipv6, policy-rules, guests
void check_network(const Config& config, const HostFacts& facts, Checks& checks);
// resolvers
void check_resolvers(const Config& config, const HostFacts& facts, Checks& checks);
// proxy-address
void check_proxies(const Config& config, const HostFacts& facts,
                   const std::vector<Endpoint>& proxies, Checks& checks);

}  // namespace proxyvpn::app
