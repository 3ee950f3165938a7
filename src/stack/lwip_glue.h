#pragma once
// lwIP's C interface, its globals and the few functions that it wants from its port. Only files of
// this room include it.
#include <cstdint>

#include "base/ip.h"

extern "C" {
#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
}

namespace proxyvpn::stack {

ip_addr_t to_lwip(const IpAddress& address) noexcept;
IpAddress from_lwip(const ip_addr_t& address) noexcept;

// 64 bits from getrandom(2); aborts the process when the kernel cannot give any.
std::uint64_t random_bits() noexcept;

// Assertions of lwIP that did not hold since the start. Debug and sanitizer builds abort at the
// first.
std::uint64_t assertions_failed() noexcept;

}  // namespace proxyvpn::stack
