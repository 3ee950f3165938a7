#include <cstring>

#include "connect/http_connect.h"

namespace proxyvpn::connect {
namespace {

// A byte that may stand in the host of a request target. Others would end the line early.
bool is_host_byte(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 0x20 && byte < 0x7f && std::strchr("\"#/<>?@\\^`{|}", c) == nullptr;
}

}  // namespace

Target to_target(const Endpoint& endpoint) {
  return Target{to_string(endpoint.address), endpoint.port};
}

std::string authority(const Target& target) {
  const bool brackets = target.host.find(':') != std::string::npos;
  std::string text;
  text.reserve(target.host.size() + 8);
  if (brackets) text += '[';
  // A name comes from the network one day: what cannot be a name gets a 400 from the proxy, and
  // never becomes a header line.
  for (const char c : target.host) text += is_host_byte(c) ? c : '?';
  if (brackets) text += ']';
  text += ':';
  text += std::to_string(target.port);
  return text;
}

}  // namespace proxyvpn::connect
