#pragma once
// Limits of the authenticator that make_authenticator() (http_connect.h) gives.
#include <cstddef>

#include "connect/http_connect.h"

namespace proxyvpn::connect {

// Digest nonces that are kept for later tunnels; as many tunnels can be set up at the same time
// without one more challenge.
inline constexpr std::size_t kMaxIdleNonces = 256;

}  // namespace proxyvpn::connect
