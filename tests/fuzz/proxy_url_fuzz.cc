// A proxy URL from the command line: understood or refused, and never repeated with its secrets.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "connect/proxy_url.h"

using namespace proxyvpn::connect;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::string encoded(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 0xf];
  }
  return out;
}

void check_understood(const ProxyUrl& url) {
  require(!url.host.empty() && url.port != 0);
  std::string again = "http://";
  if (url.credentials) {
    require(check_credentials(*url.credentials).has_value());
    again += encoded(url.credentials->username) + ":" + encoded(url.credentials->password.reveal());
    again += "@";
  }
  again += authority({url.host, url.port});
  const auto parsed = parse_proxy_url(again);
  require(parsed && parsed->host == url.host && parsed->port == url.port);
  require(parsed->credentials == url.credentials);
  // What is shown has everything but the password.
  const auto shown = parse_proxy_url(redacted(url));
  require(shown && shown->host == url.host && shown->port == url.port);
  require(!shown->credentials || shown->credentials->password.empty());
}

// Nothing of the text that is long enough to be a secret stands in the error.
void check_refused(std::string_view text, const std::string& message) {
  const std::size_t at = text.rfind('@');
  const std::size_t scheme = text.find("://");
  if (at == std::string_view::npos || scheme == std::string_view::npos || scheme + 3 > at) return;
  const auto userinfo = text.substr(scheme + 3, at - scheme - 3);
  // Short ones, and words of our own sentences, turn up by chance.
  constexpr std::string_view kMarker = "zqx";
  for (std::size_t i = userinfo.find(kMarker); i != std::string_view::npos;
       i = userinfo.find(kMarker, i + 1)) {
    require(message.find(kMarker) == std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto url = parse_proxy_url(text);
  if (url) {
    check_understood(*url);
  } else {
    require(!url.error().message.empty() && url.error().message.size() < 400);
    check_refused(text, url.error().message);
  }
  return 0;
}
