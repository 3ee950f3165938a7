#pragma once
// Which name server a probe asks.
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/ip.h"
#include "dns/resolv_conf.h"

namespace proxyvpn::probe {

// A name server: address, port (53 unless given), and the link for a link-local address.
struct Server {
  Endpoint endpoint;
  std::string zone;
  friend bool operator==(const Server&, const Server&) = default;
};
std::string to_string(const Server& server);  // "192.0.2.1:53", "[fe80::1%eth0]:53"
// "192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:53", "fe80::1%eth0".
Result<Server> parse_server(std::string_view text);
// The first IPv4 name server of resolv.conf, else the first of all. With `through_proxy` one on
// this machine is of no use (the proxy would ask itself): then the servers behind it, as
// dns::decide_resolvers() knows them. NotFound when there is none.
Result<Server> default_server(const dns::ResolverPaths& paths, bool through_proxy);
// For connect(2). NotFound when the zone is no link of this machine.
Result<SocketAddress> to_sockaddr(const Server& server);

}  // namespace proxyvpn::probe
