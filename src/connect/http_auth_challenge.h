#pragma once
// What a 407 asks for: the lists of challenges in Proxy-Authenticate (RFC 9110 section 11).
#include <string>
#include <string_view>
#include <vector>

namespace proxyvpn::connect {

struct AuthParameter {
  std::string name;   // lower case
  std::string value;  // without quotes and their escapes
};

struct Challenge {
  std::string scheme;   // lower case: "basic", "digest", "negotiate"
  std::string token68;  // instead of parameters
  std::vector<AuthParameter> parameters;
  // The first parameter of this name, nullptr when there is none. `name` is lower case.
  [[nodiscard]] const std::string* find(std::string_view name) const noexcept;
};

// At most this many challenges of one value, and parameters of one challenge, are looked at.
inline constexpr std::size_t kMaxChallenges = 32;
inline constexpr std::size_t kMaxAuthParameters = 32;

// All challenges of one field value, in its order. Takes what proxies are known to send: unquoted
// values, spaces around "=", empty list members. What does not parse is left out up to the next
// comma, so that one broken member does not hide a good one behind it.
std::vector<Challenge> parse_challenges(std::string_view value);
// The parameters alone, as in Proxy-Authentication-Info (RFC 7615).
std::vector<AuthParameter> parse_auth_parameters(std::string_view value);

// ASCII only, whatever the locale.
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

}  // namespace proxyvpn::connect
