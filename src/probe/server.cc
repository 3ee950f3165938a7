#include "probe/server.h"

#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "dns/message.h"

namespace proxyvpn::probe {
namespace {

Server at_default_port(const dns::Nameserver& nameserver) {
  return {{nameserver.address, dns::kPort}, nameserver.zone};
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc{} || stop != end || port == 0) return std::nullopt;
  return port;
}

// "host:port" and "[host]:port" cut in two; empty for anything else.
std::optional<std::pair<std::string_view, std::string_view>> split_port(std::string_view text) {
  if (text.starts_with('[')) {
    const auto close = text.find("]:");
    if (close == std::string_view::npos) return std::nullopt;
    return std::pair{text.substr(1, close - 1), text.substr(close + 2)};
  }
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos)
    return std::nullopt;
  return std::pair{text.substr(0, colon), text.substr(colon + 1)};
}

}  // namespace

std::string to_string(const Server& server) {
  const auto port = ":" + std::to_string(server.endpoint.port);
  const auto address = dns::to_string(dns::Nameserver{server.endpoint.address, server.zone});
  return server.endpoint.address.is_v4() ? address + port : "[" + address + "]" + port;
}

Result<Server> parse_server(std::string_view text) {
  if (const auto plain = dns::parse_nameserver(text)) return at_default_port(*plain);
  if (const auto parts = split_port(text)) {
    const auto host = dns::parse_nameserver(parts->first);
    const auto port = parse_port(parts->second);
    if (host && port && host->address.is_v6() == text.starts_with('['))
      return Server{{host->address, *port}, host->zone};
  }
  return fail(Code::InvalidArgument,
              "'" + std::string(text) +
                  "' is not the address of a name server: give an IPv4 or IPv6 address, with a "
                  "port as 192.0.2.1:53 or [2001:db8::1]:53");
}

Result<Server> default_server(const dns::ResolverPaths& paths, bool through_proxy) {
  const auto none = [&](const std::string& why) {
    return fail(Code::NotFound, "no name server is known: " + why + "; give one with --server");
  };
  if (through_proxy) {
    const auto facts = dns::read_resolver_facts(paths);
    if (!facts) return none(facts.error().message);
    if (facts->servers.empty()) {
      return none(paths.resolv_conf +
                  " has none but this machine itself, which a proxy cannot ask for us");
    }
    const auto v4 = std::find_if(facts->servers.begin(), facts->servers.end(),
                                 [](const IpAddress& a) { return a.is_v4(); });
    return Server{{v4 != facts->servers.end() ? *v4 : facts->servers.front(), dns::kPort}, {}};
  }
  const auto text = dns::read_text(paths.resolv_conf);
  if (!text) return none(text.error().message);
  const auto known = dns::parse_resolv_conf(*text).nameservers;
  if (known.empty()) return none(paths.resolv_conf + " has no usable nameserver line");
  const auto v4 = std::find_if(known.begin(), known.end(),
                               [](const dns::Nameserver& s) { return s.address.is_v4(); });
  return at_default_port(v4 != known.end() ? *v4 : known.front());
}

Result<SocketAddress> to_sockaddr(const Server& server) {
  auto out = proxyvpn::to_sockaddr(server.endpoint);
  if (server.zone.empty()) return out;
  std::uint32_t index = ::if_nametoindex(server.zone.c_str());
  if (index == 0) {  // RFC 4007 section 11.2: a number is an index
    const auto* end = server.zone.data() + server.zone.size();
    const auto [stop, error] = std::from_chars(server.zone.data(), end, index);
    if (error != std::errc{} || stop != end || index == 0)
      return fail(Code::NotFound, "there is no link '" + server.zone + "' on this machine");
  }
  sockaddr_in6 in{};
  std::memcpy(&in, &out.storage, sizeof in);
  in.sin6_scope_id = index;
  std::memcpy(&out.storage, &in, sizeof in);
  return out;
}

}  // namespace proxyvpn::probe
