#pragma once
// Config and facts into what the machine shall look like. Pure. Marks, tables and priorities are
// put together here and nowhere else.
#include <vector>

#include "app/config.h"
#include "app/host_facts.h"
#include "app/lifecycle.h"
#include "base/ip.h"

namespace proxyvpn::app {

// What --allow-lan lets go direct: private networks (RFC 1918, RFC 4193) and link-local ones
// (RFC 3927, RFC 4291). Not 100.64.0.0/10 (RFC 6598), which is the provider's network, and no
// multicast; --exclude takes either. Fixed, never what an interface says: a network that somebody
// else configures must not open a way around the proxy (CVE-2023-36672).
std::vector<Cidr> lan_networks();

// The resolvers that may be asked directly: those that were given, else those of the system.
std::vector<IpAddress> allowed_resolvers(const Config& config, const HostFacts& facts);

// Whether the TUN gets an IPv6 address and IPv6 goes through the proxy. Where not, it is refused.
bool proxies_ipv6(const Config& config, const HostFacts& facts);

// How many workers, and so TUN queues: what was asked for, else one for every two cores of this
// process, at most kMostWorkers: the applications and the kernel need the other half, and a worker
// that shares its core costs more in context switches than it carries ("Workers" in
// docs/performance.md says how to compare).
inline constexpr unsigned kMostWorkers = 4;
unsigned worker_count(const Config& config, unsigned cores);

// One address and port per element, in this order: --proxy-ip or what was resolved, with the
// proxy's port.
std::vector<Endpoint> proxy_endpoints(const Config& config, const std::vector<IpAddress>& resolved);

netlink::RoutingPlan build_routing(const Config& config, const HostFacts& facts);
// `keep` stays empty: it is filled by the lifecycle from the sockets at that moment.
firewall::Policy build_policy(const Config& config, const HostFacts& facts,
                              const std::vector<Endpoint>& proxies);
HostPlan build_plan(const Config& config, const HostFacts& facts,
                    const std::vector<Endpoint>& proxies, unsigned workers);

}  // namespace proxyvpn::app
