#pragma once
// PROXYVPN_ADDRESS_SANITIZER is defined in a build with it, of g++ as of clang.

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PROXYVPN_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define PROXYVPN_ADDRESS_SANITIZER
#endif
