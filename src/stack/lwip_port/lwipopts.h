// lwIP 2.1.3's options for proxyvpn: a raw-API TCP stack for one event loop, no IP layer of its
// own. Why each value: docs/architecture.md, "The stack".
#pragma once

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_TIMERS 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_STATS 0
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS  // <arpa/inet.h> has htons() and friends

#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_TCP 1
#define LWIP_UDP 0
#define LWIP_RAW 0
#define LWIP_ICMP 0
#define LWIP_ICMP6 1  // ip6.c refers to it; never called, as ip6_input() is bypassed
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
#define LWIP_DHCP 0
#define LWIP_AUTOIP 0
#define LWIP_DNS 0
#define LWIP_IGMP 0
#define LWIP_SINGLE_NETIF 1
#define LWIP_HAVE_LOOPIF 0
#define LWIP_NETIF_LOOPBACK 0
#define IP_REASSEMBLY 0
#define IP_FRAG 0
#define LWIP_IPV6_REASS 0
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_SCOPES 0  // else link-local destinations trip the zone checks
#define LWIP_ND6_QUEUEING 0

// Memory: malloc throughout; the bounds are ours (windows, budget), not pools.
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT 8
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define PBUF_LINK_HLEN 0
#define PBUF_LINK_ENCAPSULATION_HLEN 0
#define PBUF_POOL_SIZE 0

// TCP. The MSS is what a frame to the TUN can carry; gso_size tells the kernel the peer's real one.
#define TCP_MSS 65495
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 6
#define TCP_WND (2 * 1024 * 1024)
#define TCP_SND_BUF (2 * 1024 * 1024)
#define TCP_SND_QUEUELEN 4000
#define TCP_SNDLOWAT 65000
#define TCP_SNDQUEUELOWAT 100
#define TCP_WND_UPDATE_THRESHOLD 65536
#define TCP_OVERSIZE 0
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES (256 * 1024)
#define TCP_OOSEQ_MAX_PBUFS 256
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_TIMESTAMPS 0
#define LWIP_TCP_KEEPALIVE 1
#define TCP_CALCULATE_EFF_SEND_MSS 0
#define TCP_LISTEN_BACKLOG 0
#define TCP_TMR_INTERVAL 50  // fast timer 50 ms, slow timer 100 ms
#define TCP_MSL 2000         // milliseconds; TIME_WAIT is recycled at once by a new SYN anyway
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1

// Checksums: of IPv4 headers here; TCP's by the kernel (NEEDS_CSUM) or by our own output without
// it.
#define CHECKSUM_GEN_IP 1
#define CHECKSUM_GEN_TCP 0
#define CHECKSUM_GEN_UDP 0
#define CHECKSUM_GEN_ICMP 0
#define CHECKSUM_GEN_ICMP6 0
#define CHECKSUM_CHECK_IP 0
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_CHECK_UDP 0
#define CHECKSUM_CHECK_ICMP 0
#define CHECKSUM_CHECK_ICMP6 0

#define LWIP_HOOK_FILENAME "lwip_hooks.h"
