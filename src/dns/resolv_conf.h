#pragma once
// Which name servers this machine asks: resolv.conf(5) as a value, and what follows from it for the
// firewall. Everything here but read_resolver_facts() takes texts and touches nothing.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"

namespace proxyvpn::dns {

inline constexpr std::size_t kMaxResolvConfBytes = 65'536;  // what lies behind is not looked at
// glibc asks the first three (MAXNS), other resolvers more; further lines get one note.
inline constexpr std::size_t kMaxNameservers = 16;
inline constexpr std::size_t kMaxNotes = 16;  // the last one says that there would be more

struct Nameserver {
  IpAddress address;  // IPv4-mapped IPv6 comes as IPv4
  std::string zone;   // "eth0" of fe80::1%eth0 (RFC 4007 section 11), else empty
  friend bool operator==(const Nameserver&, const Nameserver&) = default;
};

// "192.0.2.1", "2001:db8::1", "fe80::1%eth0"; also the short forms that glibc takes ("127.1",
// inet_aton(3)). Not a name, no port. A zone is for IPv6 only.
std::optional<Nameserver> parse_nameserver(std::string_view text);
std::string to_string(const Nameserver& nameserver);

struct ResolvConf {
  std::vector<Nameserver> nameservers;  // in order, no duplicates
  std::vector<std::string> notes;       // for people: lines that cannot be used, limits reached
};

// Reads `text` as glibc does: a keyword starts the line, blank or tab behind it, a comment has '#'
// or ';' in the first column, what follows the address is ignored. Never fails: what cannot be used
// gets a note.
ResolvConf parse_resolv_conf(std::string_view text);

// True for an address that means this machine itself: loopback, or unspecified (0.0.0.0, ::).
bool is_local_stub(const IpAddress& address) noexcept;
// True for the addresses on which systemd-resolved listens: 127.0.0.53 and 127.0.0.54
// (systemd-resolved.service(8)).
bool is_systemd_stub(const IpAddress& address) noexcept;

// What the firewall must let through so that names go on working.
struct ResolverFacts {
  std::vector<IpAddress> servers;   // never this machine itself, in order, no duplicates
  bool only_loopback_stub = false;  // /etc/resolv.conf names none but this machine
  // True: `servers` is what this machine asks in the end. False: a program on this machine asks
  // for it and nobody knows whom, so names may stay dead until the user passes --dns; `notes`
  // says so. `servers` may still hold what systemd-resolved has learned, as the best guess.
  bool upstreams_known = false;
  std::vector<std::string> notes;  // one sentence each, ready to be shown
};

// `resolv_conf`: the text of /etc/resolv.conf; `systemd_upstreams`: of
// /run/systemd/resolve/resolv.conf. nullopt: the file is not there (resolv.conf(5): then the name
// server is this machine). Addresses without their zone: a firewall set has no place for it.
ResolverFacts decide_resolvers(std::optional<std::string_view> resolv_conf,
                               std::optional<std::string_view> systemd_upstreams);

struct ResolverPaths {
  std::string resolv_conf = "/etc/resolv.conf";
  std::string systemd_upstreams = "/run/systemd/resolve/resolv.conf";
};

// The text of a regular file, cut at kMaxResolvConfBytes + 1 so that the parser sees that there was
// more. NotFound when it is missing. /dev/null is an empty file; any other thing that is no regular
// file is refused, so that nothing blocks.
Result<std::string> read_text(const std::string& path);

// The files read and decided. A resolv.conf that is there and cannot be read is an error: guessing
// would open or shut the wrong door.
Result<ResolverFacts> read_resolver_facts(const ResolverPaths& paths = {});

}  // namespace proxyvpn::dns
