// lwIP's compiler and platform header: gcc and clang on Linux.
#pragma once
#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define LWIP_PLATFORM_BYTESWAP 1
#define LWIP_PLATFORM_HTONS(x) __builtin_bswap16(x)
#define LWIP_PLATFORM_HTONL(x) __builtin_bswap32(x)
#if __BYTE_ORDER == __BIG_ENDIAN
#undef LWIP_PLATFORM_BYTESWAP
#endif

#ifdef __cplusplus
extern "C" {
#endif
// Debug and sanitizer builds abort, others count and go on (src/stack/lwip_glue.cc).
void proxyvpn_lwip_assert(const char* message, const char* file, int line);
unsigned int proxyvpn_lwip_random(void);
#ifdef __cplusplus
}
#endif
#define LWIP_PLATFORM_ASSERT(message) proxyvpn_lwip_assert(message, __FILE__, __LINE__)
#define LWIP_PLATFORM_DIAG(arguments) ((void)0)
#define LWIP_RAND() proxyvpn_lwip_random()
