#include "dns/resolv_conf.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>

#include "base/unique_fd.h"

namespace proxyvpn::dns {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::string_view kKeyword = "nameserver";
constexpr std::size_t kMaxZone = 15;    // IFNAMSIZ - 1; a numeric zone is shorter
constexpr std::size_t kMaxQuoted = 60;  // of a bad value, in a note

// A value from a file as it may be shown on a terminal.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, kMaxQuoted)) out += (c >= ' ' && c <= '~') ? c : '?';
  if (text.size() > kMaxQuoted) out += "...";
  return out + "'";
}

void note(std::vector<std::string>& notes, std::string text) {
  if (notes.size() + 1 < kMaxNotes) {
    notes.push_back(std::move(text));
  } else if (notes.size() + 1 == kMaxNotes) {
    notes.emplace_back("further notes are left out");
  }
}

// The value of a "nameserver" line; empty for any other line.
std::optional<std::string_view> nameserver_value(std::string_view line) {
  if (!line.starts_with(kKeyword)) return std::nullopt;
  line.remove_prefix(kKeyword.size());
  if (line.empty() || kBlanks.find(line.front()) == std::string_view::npos) return std::nullopt;
  const auto start = line.find_first_not_of(kBlanks);
  if (start == std::string_view::npos) return std::string_view{};
  line.remove_prefix(start);
  return line.substr(0, line.find_first_of(kBlanks));
}

IpAddress unmapped(const IpAddress& address) {
  const auto plain = [&]() -> std::optional<Endpoint> {
    const auto socket_address = to_sockaddr(Endpoint{address, 0});
    return from_sockaddr(socket_address.get(), socket_address.length);
  }();
  return plain ? plain->address : address;
}

bool valid_zone(std::string_view zone) {
  return !zone.empty() && zone.size() <= kMaxZone &&
         std::all_of(zone.begin(), zone.end(),
                     [](char c) { return c > ' ' && c <= '~' && c != '/'; });
}

std::string list(const std::vector<IpAddress>& addresses) {
  std::string out;
  for (const auto& address : addresses) {
    if (!out.empty()) out += ", ";
    out += to_string(address);
  }
  return out;
}

void append_notes(ResolverFacts& facts, const ResolvConf& conf, std::string_view file) {
  for (const auto& text : conf.notes) note(facts.notes, std::string(file) + ": " + text);
}

// Servers that are not this machine, without zone and without duplicates.
void append_remote(ResolverFacts& facts, const ResolvConf& conf) {
  for (const auto& server : conf.nameservers) {
    if (is_local_stub(server.address)) continue;
    if (std::find(facts.servers.begin(), facts.servers.end(), server.address) ==
        facts.servers.end()) {
      facts.servers.push_back(server.address);
    }
  }
}

void decide_behind_stub(ResolverFacts& facts, const Nameserver& stub,
                        std::optional<std::string_view> systemd_upstreams) {
  facts.only_loopback_stub = true;
  if (systemd_upstreams) {
    const auto upstreams = parse_resolv_conf(*systemd_upstreams);
    append_notes(facts, upstreams, "systemd-resolved's resolv.conf");
    append_remote(facts, upstreams);
  }
  const auto name = to_string(stub);
  if (is_systemd_stub(stub.address)) {
    facts.upstreams_known = !facts.servers.empty();
    if (facts.upstreams_known) {
      note(facts.notes, "names are asked through systemd-resolved on " + name + ", which asks " +
                            list(facts.servers));
    } else {
      note(facts.notes,
           "the only name server is systemd-resolved on " + name +
               ", and the servers that it asks are not known: names will not resolve unless you "
               "pass its servers with --dns ADDRESS (resolvectl dns shows them)");
    }
    return;
  }
  // dnsmasq, unbound, a container's or a user's own: each has its upstreams in a place of its own.
  std::string text = "the only name server is a program on this machine (" + name +
                     "), and nobody knows which servers it asks: ";
  text += facts.servers.empty()
              ? "names will not resolve unless you pass its servers with --dns ADDRESS"
              : "allowing those that systemd-resolved has learned (" + list(facts.servers) +
                    "); if names do not resolve, pass its servers with --dns ADDRESS";
  note(facts.notes, std::move(text));
}

}  // namespace

std::optional<Nameserver> parse_nameserver(std::string_view text) {
  Nameserver out;
  const auto percent = text.find('%');
  const std::string host(text.substr(0, percent));
  if (host.find('\0') != std::string::npos) return std::nullopt;
  if (percent != std::string_view::npos) {
    out.zone = text.substr(percent + 1);
    if (!valid_zone(out.zone)) return std::nullopt;
  } else if (in_addr v4{}; !host.empty() &&
                           host.find_first_of(" \t\n\r\v\f") == std::string::npos &&
                           ::inet_aton(host.c_str(), &v4) == 1) {
    out.address = IpAddress::v4(ntohl(v4.s_addr));
    return out;
  }
  const auto address = IpAddress::parse(host);
  if (!address || address->is_v4()) return std::nullopt;
  out.address = unmapped(*address);
  if (out.address.is_v4() && !out.zone.empty()) return std::nullopt;
  return out;
}

std::string to_string(const Nameserver& nameserver) {
  auto out = proxyvpn::to_string(nameserver.address);
  if (!nameserver.zone.empty()) out += "%" + nameserver.zone;
  return out;
}

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf out;
  if (text.size() > kMaxResolvConfBytes) {
    text = text.substr(0, kMaxResolvConfBytes);
    // The last line may be cut in the middle of an address.
    text = text.substr(0, text.rfind('\n') == std::string_view::npos ? 0 : text.rfind('\n'));
    note(out.notes, "only the first " + std::to_string(kMaxResolvConfBytes) + " bytes are used");
  }
  std::size_t left_out = 0;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const auto value = nameserver_value(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!value) continue;
    const auto server = parse_nameserver(*value);
    if (!server) {
      note(out.notes, "line " + std::to_string(number) + ": " + quoted(*value) +
                          " is not the address of a name server");
      continue;
    }
    auto& known = out.nameservers;
    if (std::find(known.begin(), known.end(), *server) != known.end()) continue;
    if (known.size() < kMaxNameservers) {
      known.push_back(*server);
    } else {
      ++left_out;
    }
  }
  if (left_out > 0) {
    note(out.notes, "only the first " + std::to_string(kMaxNameservers) +
                        " name servers are used, " + std::to_string(left_out) + " are left out");
  }
  return out;
}

bool is_local_stub(const IpAddress& address) noexcept {
  return address.is_loopback() || address.is_unspecified();
}

bool is_systemd_stub(const IpAddress& address) noexcept {
  return address.is_v4() &&
         (address.v4_host_order() == 0x7f000035 || address.v4_host_order() == 0x7f000036);
}

ResolverFacts decide_resolvers(std::optional<std::string_view> resolv_conf,
                               std::optional<std::string_view> systemd_upstreams) {
  ResolverFacts facts;
  ResolvConf conf;
  if (resolv_conf) conf = parse_resolv_conf(*resolv_conf);
  append_notes(facts, conf, "resolv.conf");
  if (conf.nameservers.empty()) {
    note(facts.notes, resolv_conf ? "resolv.conf names no name server, so this machine itself is "
                                    "asked (resolv.conf(5))"
                                  : "there is no resolv.conf, so this machine itself is asked "
                                    "(resolv.conf(5))");
    Nameserver self;
    self.address = IpAddress::v4(0x7f000001);
    conf.nameservers.push_back(self);
  }
  append_remote(facts, conf);
  const auto stub = std::find_if(conf.nameservers.begin(), conf.nameservers.end(),
                                 [](const Nameserver& s) { return is_local_stub(s.address); });
  if (facts.servers.empty()) {
    // One that is systemd-resolved's tells more than one that is anybody's.
    const auto systemd =
        std::find_if(conf.nameservers.begin(), conf.nameservers.end(),
                     [](const Nameserver& s) { return is_systemd_stub(s.address); });
    decide_behind_stub(facts, systemd != conf.nameservers.end() ? *systemd : *stub,
                       systemd_upstreams);
    return facts;
  }
  facts.upstreams_known = true;
  if (stub != conf.nameservers.end()) {
    note(facts.notes, "resolv.conf also names a program on this machine (" + to_string(*stub) +
                          "); the servers that it asks are not opened, the others in resolv.conf "
                          "are (" +
                          list(facts.servers) + ")");
  }
  for (const auto& server : conf.nameservers) {
    if (server.zone.empty()) continue;
    note(facts.notes, "the name server " + to_string(server) +
                          " is allowed on every link: the firewall knows addresses, not zones");
  }
  return facts;
}

Result<std::string> read_text(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return fail_errno(errno, "open " + path);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(errno, "fstat " + path);
  if (S_ISCHR(info.st_mode) && info.st_rdev == ::makedev(1, 3)) return std::string{};  // /dev/null
  if (!S_ISREG(info.st_mode)) {
    return fail(Code::InvalidArgument, path +
                                           " is not a regular file; name servers are read from "
                                           "files only, pass them with --dns ADDRESS instead");
  }
  std::string out;
  std::array<char, 4096> buffer{};
  while (out.size() <= kMaxResolvConfBytes) {
    const auto want = std::min(buffer.size(), kMaxResolvConfBytes + 1 - out.size());
    const ssize_t got = ::read(fd.get(), buffer.data(), want);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "read " + path);
    if (got == 0) break;
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return out;
}

Result<ResolverFacts> read_resolver_facts(const ResolverPaths& paths) {
  const auto conf = read_text(paths.resolv_conf);
  if (!conf && conf.error().code != Code::NotFound)
    return wrap(conf.error(), "reading the name servers");
  const auto systemd = read_text(paths.systemd_upstreams);
  const auto view = [](const Result<std::string>& text) {
    return text ? std::optional<std::string_view>(*text) : std::nullopt;
  };
  auto facts = decide_resolvers(view(conf), view(systemd));
  // It only matters behind a stub; there its servers stay unknown.
  if (!systemd && systemd.error().code != Code::NotFound && facts.only_loopback_stub)
    note(facts.notes, systemd.error().message);
  return facts;
}

}  // namespace proxyvpn::dns
