#pragma once
// Policies for this room's tests.
#include "firewall/policy.h"

namespace proxyvpn::firewall {

inline IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }
inline Endpoint endpoint(std::string_view text) { return parse_endpoint(text).value(); }
inline Cidr network(std::string_view text) { return parse_cidr(text).value(); }

// Every feature, both families; `guarded_uplinks` and `guarded_ports` name links that must exist
// where it is loaded.
inline Policy full_policy() {
  Policy policy;
  policy.tun_addresses = {address("10.255.255.1"), address("fd0f:70::1")};
  policy.daemon_uid = 105;
  policy.proxies = {endpoint("203.0.113.10:3128"), endpoint("203.0.113.11:8080"),
                    endpoint("[2001:db8:113::10]:3128")};
  policy.resolvers = {address("203.0.113.53"), address("192.168.50.1"),
                      address("2001:db8:113::53")};
  policy.direct = {network("192.168.0.0/16"), network("10.0.0.0/9"),   network("10.128.0.0/9"),
                   network("10.1.0.0/16"),    network("198.51.100.7"), network("240.0.0.0/4"),
                   network("fd00::/8"),       network("fe80::/10")};
  policy.exempt_uids = {1001, 1000};
  policy.inside_links = {"docker0", "br-1a2b"};
  policy.inside_networks = {network("172.30.0.0/24"), network("fd30::/64")};
  policy.keep = {{endpoint("192.168.50.2:22"), endpoint("192.168.50.9:50000")},
                 {endpoint("[fd00::2]:22"), endpoint("[fd00::9]:50000")}};
  policy.guarded_uplinks = {"up0"};
  policy.guarded_ports = {"port0"};
  return policy;
}

}  // namespace proxyvpn::firewall
