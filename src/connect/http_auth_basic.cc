#include "connect/http_auth_basic.h"

#include <nettle/base64.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace proxyvpn::connect {
namespace {

constexpr std::string_view kPrefix = "Basic ";

// RFC 5234: CTL.
bool has_control(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

}  // namespace

Result<> check_credentials(const Credentials& credentials) {
  // A colon ends the user name in Basic (RFC 7617 section 2) and in Digest's A1 (RFC 7616 3.4.2).
  if (credentials.username.find(':') != std::string::npos) {
    return fail(Code::InvalidArgument,
                "the proxy user name contains a colon, which HTTP authentication cannot carry "
                "(RFC 7617); use a user name without one");
  }
  if (has_control(credentials.username)) {
    return fail(Code::InvalidArgument,
                "the proxy user name contains a control character (a line break, tab or NUL); "
                "remove it");
  }
  if (has_control(credentials.password.reveal())) {
    return fail(Code::InvalidArgument,
                "the proxy password contains a control character (a line break, tab or NUL); "
                "remove it, and check for a line break at the end of the password file");
  }
  return {};
}

Secret basic_authorization(const Credentials& credentials) {
  const std::string_view password = credentials.password.reveal();
  std::string plain;
  plain.reserve(credentials.username.size() + 1 + password.size());
  plain.append(credentials.username).append(1, ':').append(password);

  std::string value(kPrefix.size() + BASE64_ENCODE_RAW_LENGTH(plain.size()), '\0');
  std::copy(kPrefix.begin(), kPrefix.end(), value.begin());
  base64_encode_raw(value.data() + kPrefix.size(), plain.size(),
                    reinterpret_cast<const std::uint8_t*>(plain.data()));
  Secret secret(value);
  wipe(plain);
  wipe(value);
  return secret;
}

}  // namespace proxyvpn::connect
