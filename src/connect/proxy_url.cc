#include "connect/proxy_url.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "connect/http_auth_challenge.h"

// No text here may repeat what could be a user name or a password, also when the URL is wrong in
// such a way that a password stands where a port or a host is expected ("http://alice:secret").

namespace proxyvpn::connect {
namespace {

constexpr std::string_view kForm = "; give http://host:port or http://user:password@host:port";
constexpr std::string_view kRange = "; a port is a number from 1 to 65535";
constexpr std::string_view kEncode =
    "; percent-encode it in the user name or password (@ is %40, / is %2F, ? is %3F, # is %23)";
constexpr std::string_view kPercentDigits = "0123456789ABCDEF";  // RFC 3986 2.1: upper case
constexpr std::size_t kMaxUrl = std::size_t{16} * 1024;
constexpr std::size_t kMaxHost = 253;  // RFC 1035 2.3.4, as text
constexpr std::size_t kMaxLabel = 63;

tl::unexpected<Error> bad(std::string_view what, std::string_view way_out = kForm) {
  return fail(Code::InvalidArgument, "proxy URL: " + std::string(what).append(way_out));
}

bool is_decimal(char c) noexcept { return c >= '0' && c <= '9'; }

int hex_value(char c) noexcept {
  if (is_decimal(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 3986 2.1. Wipes what it made when it fails.
bool percent_decode(std::string_view text, std::string& out) {
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      wipe(out);
      return false;
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

// Takes "http://" off. Only the names of schemes that we know are repeated: what stands in front of
// "://" may be anything.
Result<> take_scheme(std::string_view& text) {
  const std::size_t end = text.find("://");
  if (end == std::string_view::npos) return bad("it does not begin with http://");
  const auto scheme = text.substr(0, end);
  text.remove_prefix(end + 3);
  if (equal_ignoring_case(scheme, "http")) return {};
  if (equal_ignoring_case(scheme, "https")) {
    return bad(
        "https, which is TLS to the proxy itself, is not supported; proxyvpn speaks plain "
        "HTTP to the proxy (connections to https sites do go through such a proxy)");
  }
  for (const std::string_view socks : {"socks", "socks4", "socks4a", "socks5", "socks5h"}) {
    if (equal_ignoring_case(scheme, socks)) {
      return bad(std::string(socks) + " is not supported, the proxy must speak HTTP CONNECT");
    }
  }
  return bad("its scheme is not http, the only one that is supported");
}

Result<Credentials> to_credentials(std::string_view userinfo) {
  const std::size_t colon = std::min(userinfo.find(':'), userinfo.size());
  const auto password = userinfo.substr(std::min(colon + 1, userinfo.size()));
  Credentials credentials;
  std::string plain;
  const bool decoded = percent_decode(userinfo.substr(0, colon), credentials.username) &&
                       percent_decode(password, plain);
  credentials.password = Secret(plain);
  wipe(plain);
  if (!decoded) {
    return bad("a % in the user name or password is not followed by two hexadecimal digits",
               "; write the character % itself as %25");
  }
  if (auto checked = check_credentials(credentials); !checked) {
    return wrap(std::move(checked.error()), "proxy URL");
  }
  return credentials;
}

Result<std::uint16_t> to_port(std::string_view text) {
  if (text.empty()) return bad("the port behind the colon is missing", kRange);
  // Up to five digits are a port that somebody meant; anything else may be a secret out of place.
  if (text.size() > 5 || !std::all_of(text.begin(), text.end(), is_decimal)) {
    return bad("what stands in the place of the port is not a port", kRange);
  }
  unsigned value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  if (value == 0 || value > 65535) {
    return bad("port " + std::string(text) + " does not exist", kRange);
  }
  return static_cast<std::uint16_t>(value);
}

// A literal in brackets; what follows the bracket stays in `text`.
Result<std::string> take_ipv6(std::string_view& text) {
  const std::size_t end = text.find(']');
  if (end == std::string_view::npos) {
    return bad("the bracket in front of the IPv6 address is never closed");
  }
  const auto literal = text.substr(1, end - 1);
  text.remove_prefix(end + 1);
  if (literal.find('%') != std::string_view::npos) {
    return bad("an IPv6 address with a zone (%) is not supported", "; use a routable address");
  }
  const auto address = IpAddress::parse(literal);
  if (!address || !address->is_v6()) {
    return bad("what stands in brackets is not an IPv6 address",
               "; example: http://[2001:db8::1]:3128");
  }
  return to_string(*address);
}

Result<> check_name(std::string_view host) {
  if (host.size() > kMaxHost) return bad("the host name is longer than 253 characters", "");
  std::size_t label = 0;
  for (std::size_t i = 0; i < host.size(); ++i) {
    const char c = host[i];
    if (c == '.') {
      if (label == 0) return bad("the host name has a dot with nothing in front of it", "");
      label = 0;
      continue;
    }
    if (static_cast<unsigned char>(c) >= 0x80) {
      return bad("the host name is not plain ASCII", "; give it in its xn-- form");
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !is_decimal(c) && c != '-' && c != '_') {
      return bad("the host name has a character that no host name has");
    }
    if (++label > kMaxLabel) {
      return bad("the host name has a part that is longer than 63 characters", "");
    }
  }
  return {};
}

// A name or an IPv4 address; ":port" stays in `text`.
Result<std::string> take_host(std::string_view& text) {
  if (std::count(text.begin(), text.end(), ':') > 1) {
    return bad("there is more than one colon behind the user name and password",
               "; an IPv6 address needs brackets: http://[2001:db8::1]:3128");
  }
  const auto host = text.substr(0, std::min(text.find(':'), text.size()));
  text.remove_prefix(host.size());
  if (host.empty()) return bad("the host is missing");
  if (auto checked = check_name(host); !checked) return tl::unexpected(std::move(checked.error()));
  // A host whose last part is a number is an IPv4 address and nothing else (WHATWG URL 3.5): the
  // resolver would read "10.1" as 10.0.0.1.
  const auto last =
      host.substr(host.rfind('.') == std::string_view::npos ? 0 : host.rfind('.') + 1);
  if (!last.empty() && std::all_of(last.begin(), last.end(), is_decimal) &&
      !IpAddress::parse(host)) {
    return bad("the host is a number, but not an IPv4 address of four parts");
  }
  return std::string(host);
}

// Splits "userinfo@host:port" off what follows it.
Result<std::string_view> take_authority(std::string_view text) {
  const std::size_t end = std::min(text.find_first_of("/?#"), text.size());
  const auto authority = text.substr(0, end);
  const auto rest = text.substr(end);
  if (rest.find('@') != std::string_view::npos) {
    return bad("there is a /, ? or # in front of an @", kEncode);
  }
  if (std::count(authority.begin(), authority.end(), '@') > 1) {
    return bad("there is more than one @", kEncode);
  }
  if (!rest.empty() && rest != "/") {
    return bad("there is a path, query or fragment behind the host, a proxy has none");
  }
  return authority;
}

}  // namespace

Result<ProxyUrl> parse_proxy_url(std::string_view text) {
  if (text.empty()) return bad("it is empty");
  if (text.size() > kMaxUrl) return bad("it is longer than 16 KiB");
  const bool blank = std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte == 0x7f;
  });
  if (blank) {
    return bad("there is a space, a line break or another control character in it",
               "; remove it, or write a space in the user name or password as %20");
  }
  if (auto scheme = take_scheme(text); !scheme) return tl::unexpected(std::move(scheme.error()));
  auto authority = take_authority(text);
  if (!authority) return tl::unexpected(std::move(authority.error()));

  ProxyUrl url;
  if (const std::size_t at = authority->find('@'); at != std::string_view::npos) {
    const auto userinfo = authority->substr(0, at);
    authority->remove_prefix(at + 1);
    // "http://@host" names nobody; "http://:@host" does, with an empty name and password.
    if (!userinfo.empty()) {
      auto credentials = to_credentials(userinfo);
      if (!credentials) return tl::unexpected(std::move(credentials.error()));
      url.credentials = std::move(*credentials);
    }
  }
  auto host = authority->starts_with('[') ? take_ipv6(*authority) : take_host(*authority);
  if (!host) return tl::unexpected(std::move(host.error()));
  url.host = std::move(*host);
  url.port = 80;
  if (authority->empty()) return url;
  if (!authority->starts_with(':')) return bad("there is something between the host and the port");
  const auto port = to_port(authority->substr(1));
  if (!port) return tl::unexpected(port.error());
  url.port = *port;
  return url;
}

std::string redacted(const ProxyUrl& url) {
  std::string text = "http://";
  if (url.credentials) {
    for (const char c : url.credentials->username) {
      const auto byte = static_cast<unsigned char>(c);
      const bool plain = is_decimal(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         std::string_view("-._~").find(c) != std::string_view::npos;
      if (plain) {
        text += c;
      } else {
        text += '%';
        text += kPercentDigits[byte >> 4];
        text += kPercentDigits[byte & 0xf];
      }
    }
    text += '@';
  }
  return text + authority(Target{url.host, url.port});
}

}  // namespace proxyvpn::connect
