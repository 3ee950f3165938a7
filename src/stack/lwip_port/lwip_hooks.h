// Hooks that lwIP calls into our glue (src/stack/lwip_glue.cc).
#pragma once
#include "lwip/arch.h"
#include "lwip/ip_addr.h"

#ifdef __cplusplus
extern "C" {
#endif
// RFC 6528: initial sequence numbers from a keyed hash and a clock, not from lwIP's predictable
// counter.
u32_t proxyvpn_initial_sequence(const ip_addr_t* local_ip, u16_t local_port,
                                const ip_addr_t* remote_ip, u16_t remote_port);
#ifdef __cplusplus
}
#endif
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) \
  proxyvpn_initial_sequence(local_ip, local_port, remote_ip, remote_port)
