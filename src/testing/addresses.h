#pragma once
// Addresses of a test's own text, which is right.
#include "base/ip.h"

namespace proxyvpn::testing {

inline IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
inline Cidr cidr(const char* text) { return parse_cidr(text).value(); }
inline Endpoint at(const char* text) { return parse_endpoint(text).value(); }

}  // namespace proxyvpn::testing
