#pragma once
// One CONNECT tunnel through an HTTP proxy, made step by step with a deadline.
#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "connect/proxy_url.h"
#include "probe/bounded_io.h"
#include "probe/dns_probe.h"

namespace proxyvpn::probe {

struct ProxyTunnel {
  UniqueFd fd;                           // set when the tunnel stands
  std::vector<std::uint8_t> early_data;  // came behind the proxy's head: the tunnel's first bytes
  std::optional<Endpoint> proxy;         // the address that took the connection
  int status = 0;                        // last status, 0 for none
  Times times;                           // resolve, connect, handshake; each when it succeeded
  std::optional<Failure> failure;        // ReachProxy or ProxyRefused
};

// The proxy's addresses are tried one after the other, each with a fair share of the time that is
// left. A 407 with a challenge that the credentials can answer costs one more round trip, on the
// same connection or on a new one.
ProxyTunnel open_proxy_tunnel(const connect::ProxyUrl& proxy, const connect::Target& target,
                              std::optional<std::uint32_t> mark, const Deadline& deadline);

}  // namespace proxyvpn::probe
