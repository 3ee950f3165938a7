#include "stack/lwip_glue.h"

#include <sys/random.h>

#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "stack/flow_table.h"

namespace proxyvpn::stack {
namespace {

std::uint64_t failed_assertions = 0;

}  // namespace

ip_addr_t to_lwip(const IpAddress& address) noexcept {
  ip_addr_t out{};
  const auto bytes = address.bytes();
  if (address.is_v4()) {
    std::memcpy(&out.u_addr.ip4.addr, bytes.data(), bytes.size());
    out.type = IPADDR_TYPE_V4;
  } else {
    std::memcpy(out.u_addr.ip6.addr, bytes.data(), bytes.size());
    out.type = IPADDR_TYPE_V6;
  }
  return out;
}

IpAddress from_lwip(const ip_addr_t& address) noexcept {
  std::uint8_t raw[16] = {};
  if (address.type == IPADDR_TYPE_V6) {
    std::memcpy(raw, address.u_addr.ip6.addr, 16);
    return IpAddress::v6(std::span<const std::uint8_t, 16>(raw));
  }
  std::memcpy(raw, &address.u_addr.ip4.addr, 4);
  return IpAddress::v4(std::span<const std::uint8_t, 4>(raw, 4));
}

std::uint64_t random_bits() noexcept {
  std::uint64_t bits = 0;
  if (::getrandom(&bits, sizeof bits, 0) != static_cast<ssize_t>(sizeof bits)) std::abort();
  return bits;
}

std::uint64_t assertions_failed() noexcept { return failed_assertions; }

}  // namespace proxyvpn::stack

extern "C" {

void proxyvpn_lwip_assert(const char* message, const char* file, int line) {
  if (++proxyvpn::stack::failed_assertions == 1) {
    proxyvpn::log::error("assertion in the TCP stack",
                         {{"what", message}, {"file", file}, {"line", line}});
  }
#ifndef NDEBUG
  std::abort();
#endif
}

unsigned int proxyvpn_lwip_random(void) {
  return static_cast<unsigned int>(proxyvpn::stack::random_bits());
}

// Nothing to do: the stack looks at every pcb after every call and arms its timer itself.
void tcp_timer_needed(void) {}

u32_t sys_now(void) {
  const auto now = proxyvpn::Clock::now().time_since_epoch();
  return static_cast<u32_t>(std::chrono::duration_cast<proxyvpn::milliseconds>(now).count());
}

u32_t proxyvpn_initial_sequence(const ip_addr_t* local_ip, u16_t local_port,
                                const ip_addr_t* remote_ip, u16_t remote_port) {
  using namespace proxyvpn;
  // RFC 6528: ISN = M + F(endpoints, secret), M a clock of 4 microseconds.
  static const stack::HashSeed secret{stack::random_bits(), stack::random_bits()};
  const stack::FlowKey key{{stack::from_lwip(*remote_ip), remote_port},
                           {stack::from_lwip(*local_ip), local_port}};
  const auto clock =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch());
  return static_cast<u32_t>(stack::hash_key(key, secret) +
                            static_cast<std::uint64_t>(clock.count() / 4));
}

}  // extern "C"
