#pragma once
// What the application is told for what the proxy said. The one table; docs/architecture.md shows
// it.
#include "connect/proxy_health.h"
#include "stack/tcp_flow.h"

namespace proxyvpn::connect {

// For a final HTTP status that is neither 2xx nor 407.
stack::Refusal refusal_for_status(int status) noexcept;
// For a proxy that could not be used at all: ENETUNREACH, except that one that does not answer in
// time is a host that cannot be reached.
stack::Refusal refusal_for_trouble(Trouble trouble) noexcept;

}  // namespace proxyvpn::connect
