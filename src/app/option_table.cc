#include "app/option_table.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace proxyvpn::app {
namespace {

using enum OptionGroup;

constexpr const char* kBackends = "auto nftables nft iptables-nft iptables-legacy";

constexpr OptionTraits kReloads{.reloads = true};
constexpr OptionTraits kForDown{.for_down = true};

const OptionRow kRows[] = {
    {"proxy-url",
     Proxy,
     &UpFlags::proxy_url,
     "URL",
     "Full proxy URL: http://user:pass@host:port (also PROXYVPN_PROXY_URL)",
     {.excludes = "proxy-host proxy-port", .secret = true}},
    {"proxy-host", Proxy, &UpFlags::proxy_host, "HOST", "Upstream proxy: host name or address"},
    {"proxy-port", Proxy, &UpFlags::proxy_port, "PORT", "Upstream proxy: port"},
    {"username", Proxy, &UpFlags::username, "USER", "User name for the proxy"},
    {"password",
     Proxy,
     &UpFlags::password,
     "PASS",
     "Password for the proxy (prefer --password-file)",
     {.excludes = "password-file", .secret = true}},
    {"password-file", Proxy, &UpFlags::password_file, "PATH",
     "Read the password from a file; '-' is standard input"},
    {"proxy-ip", Proxy, &UpFlags::proxy_ip, "IP",
     "Address of the proxy, no name is looked up (repeatable)"},
    {"connect-timeout", Proxy, &UpFlags::connect_timeout, "SECONDS",
     "Longest wait for the proxy to open one connection", kReloads},
    {"preconnect", Proxy, &UpFlags::preconnect, "N",
     "Connections to the proxy held open ahead of need, N at most", kReloads},
    {"source-address", Proxy, &UpFlags::source_address, "IP",
     "Address of this machine that connections to the proxy come from (repeatable, in turns)"},
    {"no-fast-open", Proxy, &UpFlags::no_fast_open, "",
     "Never send the request along with the first packet to the proxy (TCP Fast Open)"},

    {"tun-name", Network, &UpFlags::tun_name, "NAME", "Name of the TUN interface", kForDown},
    {"tun-cidr", Network, &UpFlags::tun_cidr, "CIDR",
     "IPv4 address and prefix of the TUN interface"},
    {"tun-cidr6", Network, &UpFlags::tun_cidr6, "CIDR",
     "IPv6 address and prefix of the TUN interface, or 'none': IPv6 is refused"},
    {"mtu", Network, &UpFlags::mtu, "BYTES", "MTU of the TUN interface"},
    {"no-offload", Network, &UpFlags::no_offload, "",
     "Do without checksum and segmentation offload on the TUN interface"},
    {"dns", Network, &UpFlags::dns, "IP",
     "Resolver that is reached directly (repeatable); without --dns and --allow-dns those of the "
     "system are",
     kReloads},
    {"allow-dns", Network, &UpFlags::allow_dns, "IP",
     "Additional resolver that is reached directly (repeatable)", kReloads},
    {"exclude", Network, &UpFlags::exclude, "CIDR",
     "Network that is reached directly, not through the proxy (repeatable)", kReloads},
    {"allow-lan", Network, &UpFlags::allow_lan, "",
     "Reach private and link-local networks directly: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, "
     "169.254.0.0/16, fc00::/7, fe80::/10",
     kReloads},
    {"exempt-user", Network, &UpFlags::exempt_user, "USER",
     "User whose TCP goes direct, such as that of a proxy on this machine (repeatable)", kReloads},
    {"no-killswitch",
     Network,
     &UpFlags::no_killswitch,
     "",
     "Disable the firewall killswitch",
     {.excludes = "persist-killswitch egress-guard"}},
    {"persist-killswitch", Network, &UpFlags::persist_killswitch, "",
     "Keep the machine shut after 'down'"},
    {"egress-guard", Network, &UpFlags::egress_guard, "",
     "Also stop raw sockets and bridged guests at the outgoing interfaces"},
    {"firewall",
     Network,
     &UpFlags::firewall,
     "BACKEND",
     "auto, nftables, nft, iptables-nft or iptables-legacy",
     {.choices = kBackends, .for_down = true}},
    {"mark-capture", Network, &UpFlags::mark_capture, "MARK",
     "Packet mark of what goes through the proxy"},
    {"mark-bypass", Network, &UpFlags::mark_bypass, "MARK",
     "Packet mark of our own connections to the proxy"},
    {"mark-mask", Network, &UpFlags::mark_mask, "MASK", "Bits of the packet mark that are ours"},
    {"route-table", Network, &UpFlags::route_table, "TABLE", "Number of the route table"},
    {"rule-priority", Network, &UpFlags::rule_priority, "PRIORITY",
     "Policy rules in front of 'main' (this number and the next two)"},
    {"fallback-priority", Network, &UpFlags::fallback_priority, "PRIORITY",
     "Policy rule behind 'main'"},

    {"config",
     General,
     &UpFlags::config,
     "PATH",
     "Read this configuration file, and not those of the system and of the user",
     {.in_file = false, .for_down = true}},
    {"state-dir",
     General,
     &UpFlags::state_dir,
     "PATH",
     "State directory",
     {.shown_default = "/run/proxyvpn", .for_down = true}},
    {"detach", General, &UpFlags::detach, "",
     "Return once traffic flows and go on in the background"},
    {"verbose",
     General,
     &UpFlags::verbose,
     "",
     "Verbose logging, one line per connection: as --log-level debug",
     {.reloads = true, .for_down = true}},
    {"log-level",
     General,
     &UpFlags::log_level,
     "LEVEL",
     "Least of what is logged: error, warning, info or debug",
     {.choices = "error warning info debug", .reloads = true}},
    {"log-format",
     General,
     &UpFlags::log_format,
     "FORMAT",
     "text, json, journal, or auto: journal where stderr is systemd's, else text",
     {.choices = "auto text json journal"}},
    {"dry-run", General, &UpFlags::dry_run, "",
     "Print the changes as ip and nft commands, apply none"},
    {"keep-logs", General, &UpFlags::keep_logs, "", "Keep state files on teardown", kForDown},
    {"workers", General, &UpFlags::workers, "N",
     "Worker processes; 0 is one for every two processor cores"},
    {"memory-budget", General, &UpFlags::memory_budget, "SIZE",
     "Most memory for data in flight, per worker"},
    {"metrics", General, &UpFlags::metrics, "ADDRESS",
     "Answer Prometheus at http://ADDRESS/metrics, ADDRESS being 127.0.0.1:PORT, [::1]:PORT or "
     "a port alone"},
};

// Changes of one character that turn `one` into `other` (Levenshtein).
std::size_t distance(std::string_view one, std::string_view other) {
  std::vector<std::size_t> row(other.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < one.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < other.size(); ++j) {
      const std::size_t above = row[j + 1];
      const std::size_t changed = diagonal + (one[i] == other[j] ? 0 : 1);
      row[j + 1] = std::min({changed, above + 1, row[j] + 1});
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

std::span<const OptionRow> option_rows() { return kRows; }

const OptionRow* find_option(std::string_view name) {
  const auto* row = std::find_if(std::begin(kRows), std::end(kRows),
                                 [&](const OptionRow& entry) { return name == entry.name; });
  return row == std::end(kRows) ? nullptr : row;
}

const char* group_name(OptionGroup group) {
  switch (group) {
    case Proxy:
      return "Proxy Configuration";
    case Network:
      return "Network Configuration";
    case General:
      return "General";
  }
  return "";
}

std::vector<std::string> words_of(const char* text) {
  std::vector<std::string> words;
  for (std::string_view rest(text); !rest.empty();) {
    const auto end = std::min(rest.find(' '), rest.size());
    words.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return words;
}

std::vector<std::string> values_of(const UpFlags& flags, const OptionRow& row) {
  struct Visitor {
    const UpFlags& flags;
    std::vector<std::string> operator()(std::optional<std::string> UpFlags::*field) const {
      if (!(flags.*field)) return {};
      return {*(flags.*field)};
    }
    std::vector<std::string> operator()(std::string UpFlags::*field) const {
      return {flags.*field};
    }
    std::vector<std::string> operator()(std::vector<std::string> UpFlags::*field) const {
      return flags.*field;
    }
    std::vector<std::string> operator()(bool UpFlags::*field) const {
      return {flags.*field ? "true" : "false"};
    }
  };
  return std::visit(Visitor{flags}, row.field);
}

void set_values(UpFlags& flags, const OptionRow& row, const std::vector<std::string>& values) {
  struct Visitor {
    UpFlags& flags;
    const std::vector<std::string>& values;
    void operator()(std::optional<std::string> UpFlags::*field) const {
      flags.*field = values.empty() ? std::nullopt : std::optional<std::string>(values.front());
    }
    void operator()(std::string UpFlags::*field) const {
      if (!values.empty()) flags.*field = values.front();
    }
    void operator()(std::vector<std::string> UpFlags::*field) const { flags.*field = values; }
    void operator()(bool UpFlags::*field) const {
      flags.*field = !values.empty() && values.front() == "true";
    }
  };
  std::visit(Visitor{flags, values}, row.field);
}

std::string default_of(const OptionRow& row) {
  if (row.traits.shown_default) return row.traits.shown_default;
  if (!std::holds_alternative<std::string UpFlags::*>(row.field)) return {};
  return UpFlags{}.*std::get<std::string UpFlags::*>(row.field);
}

std::optional<std::string> suggest_option(std::string_view word) {
  std::string plain(word);
  std::replace(plain.begin(), plain.end(), '_', '-');
  while (plain.starts_with('-')) plain.erase(0, 1);
  std::optional<std::string> best;
  // A third of the letters may differ; more is another word.
  std::size_t least = std::max<std::size_t>(plain.size() / 3, 1) + 1;
  for (const auto& row : option_rows()) {
    const std::string_view name = row.name;
    if (plain == name || name == "no-" + plain) return std::string(name);
    if (const auto changes = distance(plain, name); changes < least) {
      least = changes;
      best = std::string(name);
    }
  }
  return best;
}

}  // namespace proxyvpn::app
