#pragma once
// What a proxy's final status means for the person who reads the log (RFC 9110 section 15, as
// proxies use it for CONNECT).
#include <string_view>

namespace proxyvpn::connect {

// Fixed text for a status that is neither 2xx nor 407.
[[nodiscard]] std::string_view refusal_reason(int status) noexcept;

}  // namespace proxyvpn::connect
