#pragma once
// http://user:pass@host:port as a value (RFC 3986; userinfo percent-decoded).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "connect/http_connect.h"

namespace proxyvpn::connect {

struct ProxyUrl {
  std::string host;  // name or address literal, IPv6 without brackets
  std::uint16_t port = 0;
  std::optional<Credentials>
      credentials;  // "http://user:@h:1" has an empty password, "http://user@h:1" too
};

// The port may be left out (80, as http says). A path of "/" is ignored, anything else behind the
// authority is an error. Schemes other than http get an error that names what is supported.
// The password never appears in an error text.
Result<ProxyUrl> parse_proxy_url(std::string_view text);

// For people: "http://user@host:port", never the password.
std::string redacted(const ProxyUrl& url);

}  // namespace proxyvpn::connect
