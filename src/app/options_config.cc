// What was typed or written into a Config: every check that needs no look at the machine's network.
#include <algorithm>

#include "app/config_sources.h"
#include "app/option_table.h"
#include "app/option_values.h"
#include "app/options.h"
#include "app/password_file.h"

namespace proxyvpn::app {
namespace {

using namespace std::chrono_literals;

tl::unexpected<Error> wrong(std::string sentence) {
  return fail(Code::InvalidArgument, std::move(sentence));
}

// RFC 7617: user-id is any text without a colon, as the first colon ends it, and without control
// characters.
Result<> check_username(const std::string& label, const std::string& name) {
  const bool control =
      std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (name.find(':') != std::string::npos || control) {
    return wrong(label +
                 ": a user name has no ':' and no control character in it (RFC 7617); give the "
                 "password with --password-file");
  }
  return {};
}

Result<connect::ProxyUrl> parse_host_and_port(const UpFlags& flags) {
  const auto& host = *flags.proxy_host;
  const std::string label = flags.label("proxy-host");
  if (!flags.proxy_port) return wrong(label + " needs --proxy-port beside it");
  if (host.empty() || host.find_first_of("@/?#[]%\\ \t") != std::string::npos) {
    if (!host.starts_with('[') || !host.ends_with(']')) {
      return wrong(label + " '" + host +
                   "': must be a host name or an address alone; for a whole URL use --proxy-url");
    }
  }
  const auto port = parse_number(flags.label("proxy-port"), *flags.proxy_port, 1, 65535);
  if (!port) return tl::unexpected(port.error());
  const bool bare_v6 = host.find(':') != std::string::npos && !host.starts_with('[');
  const std::string authority = bare_v6 ? "[" + host + "]" : host;
  auto url = connect::parse_proxy_url("http://" + authority + ":" + std::to_string(*port));
  if (!url) return wrap(url.error(), label + " '" + host + "'");
  return url;
}

Result<connect::ProxyUrl> parse_where(UpFlags& flags) {
  if (flags.proxy_url) {
    auto url = connect::parse_proxy_url(*flags.proxy_url);
    wipe(*flags.proxy_url);
    // Its errors name the URL, and never show it.
    const bool from_file = flags.label("proxy-url").front() != '-';
    if (!url && from_file) return wrap(url.error(), flags.label("proxy-url"));
    return url;
  }
  if (flags.proxy_host) return parse_host_and_port(flags);
  if (flags.proxy_port) return wrong(flags.label("proxy-port") + " needs --proxy-host beside it");
  return wrong(
      "no proxy is given; use --proxy-url http://host:port, or --proxy-host and --proxy-port, "
      "set PROXYVPN_PROXY_URL, or write proxy-url into /etc/proxyvpn/config.toml");
}

// The password from --password or --password-file; empty when neither was given.
Result<std::optional<Secret>> parse_password(UpFlags& flags, std::vector<std::string>& warnings) {
  if (flags.password) {
    auto password = checked_password(std::move(*flags.password), flags.label("password"));
    if (!password) return tl::unexpected(password.error());
    return std::optional<Secret>(std::move(*password));
  }
  if (!flags.password_file) return std::optional<Secret>();
  const auto& path = *flags.password_file;
  const std::string label = flags.label("password-file");
  const bool from_file = label.front() != '-';
  if (from_file && path != "-" && !path.starts_with('/')) {
    return wrong(label + " '" + path + "': must be an absolute path");
  }
  auto file = read_password_file(path);
  if (!file && from_file) return wrap(file.error(), label);
  if (!file) return tl::unexpected(file.error());
  if (!file->warning.empty()) warnings.push_back(file->warning);
  return std::optional<Secret>(std::move(file->password));
}

// User and password may stand in the URL, in options, or the user there and the password here; what
// is given twice in one place is an error, as one of the two would be ignored. From different
// places the higher one counts.
Result<> add_username(const UpFlags& flags, connect::ProxyUrl& url) {
  if (!flags.username) return {};
  const std::string label = flags.label("username");
  if (auto good = check_username(label, *flags.username); !good) return good;
  if (url.credentials && url.credentials->username != *flags.username) {
    const Place where = flags.place("proxy-url");
    if (where > flags.place("username")) return {};
    if (where == flags.place("username")) {
      return wrong("two user names are given: '" + url.credentials->username +
                   "' in the proxy URL and " + label + " '" + *flags.username + "'; leave one out");
    }
    url.credentials.reset();
  }
  if (!url.credentials) url.credentials.emplace();
  url.credentials->username = *flags.username;
  return {};
}

Result<> add_password(UpFlags& flags, connect::ProxyUrl& url, std::vector<std::string>& warnings) {
  const Place place = std::max(flags.place("password"), flags.place("password-file"));
  const Place of_url = flags.place("proxy-url");
  const bool in_url = url.credentials && !url.credentials->password.empty();
  if (in_url && of_url > place) return {};
  auto password = parse_password(flags, warnings);
  if (!password) return tl::unexpected(password.error());
  if (!*password) return {};
  if (!url.credentials) {
    return wrong("a password is given but no user name; add --username, or user@ in the proxy URL");
  }
  if (in_url && of_url == place) {
    return wrong(
        "two passwords are given, one in the proxy URL and one in an option; leave one out");
  }
  url.credentials->password = std::move(**password);
  return {};
}

// Reads one option's text into `target` and keeps what is wrong.
class FlagReader {
 public:
  explicit FlagReader(std::vector<Error>& mistakes) : mistakes_(mistakes) {}
  template <class T, class U>
  void take(T& target, Result<U> value) {
    if (value) {
      target = static_cast<T>(std::move(*value));
    } else {
      mistakes_.push_back(std::move(value.error()));
    }
  }
  template <class T>
  void append(std::vector<T>& target, Result<T> value) {
    if (value && std::find(target.begin(), target.end(), *value) == target.end()) {
      target.push_back(std::move(*value));
    } else if (!value) {
      mistakes_.push_back(std::move(value.error()));
    }
  }
  void require(bool good, std::string sentence) {
    if (!good) mistakes_.push_back(Error{Code::InvalidArgument, 0, std::move(sentence)});
  }
  void require(const Result<>& result) {
    if (!result) mistakes_.push_back(result.error());
  }

 private:
  std::vector<Error>& mistakes_;
};

void read_device(const UpFlags& flags, Config& config, FlagReader& reader) {
  reader.take(config.tun_name, parse_link_name(flags.label("tun-name"), flags.tun_name));
  reader.take(config.tun_cidr, parse_tun_cidr(flags.label("tun-cidr"), flags.tun_cidr, Family::V4));
  if (flags.tun_cidr6 != "none") {
    Cidr cidr;
    reader.take(cidr, parse_tun_cidr(flags.label("tun-cidr6"), flags.tun_cidr6, Family::V6));
    config.tun_cidr6 = cidr;
  }
  // Below 1280 the kernel takes IPv6 off the device (RFC 8200 section 5); 65535 is the largest that
  // a TUN device takes (drivers/net/tun.c).
  reader.take(config.mtu, parse_number(flags.label("mtu"), flags.mtu, 1280, 65535));
  config.offload = !flags.no_offload;
}

void read_traffic(const UpFlags& flags, Config& config, FlagReader& reader) {
  const auto each = [&](const char* name, const std::vector<std::string>& texts, auto& target,
                        auto parse) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      reader.append(target, parse(flags.label(name, i), texts[i]));
    }
  };
  each("proxy-ip", flags.proxy_ip, config.proxy_ips, parse_unicast);
  each("source-address", flags.source_address, config.source_addresses, parse_unicast);
  each("dns", flags.dns, config.dns, parse_unicast);
  each("allow-dns", flags.allow_dns, config.dns, parse_unicast);
  each("exclude", flags.exclude, config.exclude, parse_network);
  each("exempt-user", flags.exempt_user, config.exempt_users, parse_user);
  config.allow_lan = flags.allow_lan;
  config.killswitch = !flags.no_killswitch;
  config.persist_killswitch = flags.persist_killswitch;
  config.egress_guard = flags.egress_guard;
}

void read_marks(const UpFlags& flags, Config& config, FlagReader& reader) {
  auto& marks = config.marks;
  reader.take(marks.mask, parse_number(flags.label("mark-mask"), flags.mark_mask, 1, UINT32_MAX));
  reader.take(marks.capture,
              parse_number(flags.label("mark-capture"), flags.mark_capture, 1, UINT32_MAX));
  reader.take(marks.bypass,
              parse_number(flags.label("mark-bypass"), flags.mark_bypass, 1, UINT32_MAX));
  marks.inbound = marks.capture | marks.bypass;
  // The words of one that is no number are told already.
  if (marks.capture == 0 || marks.bypass == 0 || marks.mask == 0) return;
  std::string where;  // in a file
  for (const char* name : {"mark-mask", "mark-bypass", "mark-capture"}) {
    if (const auto label = flags.label(name); !label.starts_with("--")) where = label + ": ";
  }
  reader.require((marks.inbound & ~marks.mask) == 0,
                 where + "--mark-capture and --mark-bypass must lie within --mark-mask: " +
                     flags.mark_capture + " and " + flags.mark_bypass + " within " +
                     flags.mark_mask);
  // Three values are told apart: capture, bypass, and both bits together for "came in from
  // outside".
  reader.require(marks.inbound != marks.capture && marks.inbound != marks.bypass,
                 where + "--mark-capture " + flags.mark_capture + " and --mark-bypass " +
                     flags.mark_bypass + " must each have a bit that the other has not");
}

void read_host_numbers(const UpFlags& flags, Config& config, FlagReader& reader) {
  reader.take(config.backend, parse_backend(flags.label("firewall"), flags.firewall));
  read_marks(flags, config, reader);
  reader.take(config.table,
              parse_number(flags.label("route-table"), flags.route_table, 1, UINT32_MAX - 1));
  // The next table is ours too.
  reader.require(config.table < 252 || config.table > 255,
                 flags.label("route-table") + " " + flags.route_table +
                     ": it and the next number are used, and 253, 254 and 255 are the system's own "
                     "tables default, main and local");
  // This number and the two behind it must stand in front of `main` (32766).
  reader.take(config.rule_priority,
              parse_number(flags.label("rule-priority"), flags.rule_priority, 1, 32763));
  reader.take(config.fallback_priority, parse_number(flags.label("fallback-priority"),
                                                     flags.fallback_priority, 32768, UINT32_MAX));
}

Result<std::string> checked_state_dir(const std::string& label, const std::string& path) {
  if (path.empty() || path.front() != '/') {
    return wrong(label + " '" + path + "': must be an absolute path");
  }
  return path;
}

void read_general(const UpFlags& flags, Config& config, FlagReader& reader) {
  if (flags.state_dir)
    reader.take(config.state_dir, checked_state_dir(flags.label("state-dir"), *flags.state_dir));
  config.state_dir_given = flags.state_dir.has_value();
  reader.take(config.connect_timeout,
              parse_duration(flags.label("connect-timeout"), flags.connect_timeout, 100ms, 600s));
  reader.take(config.preconnect,
              parse_number(flags.label("preconnect"), flags.preconnect, 0, 1024));
  config.fast_open = !flags.no_fast_open;
  reader.take(config.workers, parse_number(flags.label("workers"), flags.workers, 0, 64));
  reader.take(config.memory_budget, parse_size(flags.label("memory-budget"), flags.memory_budget,
                                               8ull << 20, 64ull << 30));
  if (flags.metrics) {
    reader.take(config.metrics, parse_listener(flags.label("metrics"), *flags.metrics));
  }
  reader.take(config.log_level, parse_log_level(flags.label("log-level"), flags.log_level));
  reader.take(config.log_format, parse_log_format(flags.label("log-format"), flags.log_format));
  if (flags.verbose) config.log_level = log::Level::Debug;
  config.verbose = config.log_level == log::Level::Debug;
  config.dry_run = flags.dry_run;
  config.keep_logs = flags.keep_logs;
  config.detach = flags.detach;
}

// What excludes each other: within one place, as merge_sources() has settled the rest.
void check_combinations(const UpFlags& flags, FlagReader& reader) {
  const auto on = [&](const OptionRow& row) {
    const auto values = values_of(flags, row);
    return flags.place(row.name) != Place::Default && !values.empty() &&
           (!row.is_switch() || values.front() == "true");
  };
  for (const auto& row : option_rows()) {
    for (const auto& word : words_of(row.traits.excludes)) {
      const auto* other = find_option(word);
      if (other == nullptr || !on(row) || !on(*other)) continue;
      reader.require(false, flags.label(word) + " cannot be given together with --" + row.name);
    }
  }
}

}  // namespace

Judgement judge(UpFlags& flags, JudgeWhat what) {
  Judgement judgement;
  auto& config = judgement.checked.config;
  FlagReader reader(judgement.mistakes);
  check_combinations(flags, reader);
  const bool given = flags.proxy_url || flags.proxy_host || flags.proxy_port;
  judgement.no_proxy = !given;
  if (given || what.proxy_needed) reader.take(config.proxy, parse_where(flags));
  read_device(flags, config, reader);
  read_traffic(flags, config, reader);
  read_host_numbers(flags, config, reader);
  read_general(flags, config, reader);
  if (config.metrics && !config.metrics->address.is_loopback()) {
    judgement.checked.warnings.push_back(
        flags.label("metrics") + " " + to_string(*config.metrics) +
        ": whoever reaches this address reads the numbers, without a password; 127.0.0.1 is for "
        "this machine alone");
  }
  if (!given) return judgement;
  reader.require(add_username(flags, config.proxy));
  // Last, so that nobody types a password before a typing error elsewhere is found.
  const bool skip = flags.password_file == "-" && !what.standard_input;
  if (what.read_password && !skip && judgement.mistakes.empty()) {
    reader.require(add_password(flags, config.proxy, judgement.checked.warnings));
  }
  return judgement;
}

namespace {

Result<Checked> check_down(const UpFlags& flags) {
  Checked checked;
  auto& config = checked.config;
  std::vector<Error> mistakes;
  FlagReader reader(mistakes);
  reader.take(config.tun_name, parse_link_name(flags.label("tun-name"), flags.tun_name));
  reader.take(config.backend, parse_backend(flags.label("firewall"), flags.firewall));
  if (flags.state_dir) {
    reader.take(config.state_dir, checked_state_dir(flags.label("state-dir"), *flags.state_dir));
  }
  config.state_dir_given = flags.state_dir.has_value();
  config.keep_logs = flags.keep_logs;
  config.verbose = flags.verbose;
  if (!mistakes.empty()) return tl::unexpected(mistakes.front());
  return checked;
}

}  // namespace

Result<Checked> to_config(const DownFlags& typed) {
  UpFlags flags = typed;
  auto loaded =
      load_config_files(typed.paths ? *typed.paths : machine_config_paths(), flags.config);
  merge_sources(flags, std::nullopt, loaded);
  wipe_secrets(flags);
  wipe_secrets(loaded);
  auto checked = check_down(flags);
  if (!checked) {
    auto without_files = check_down(typed);
    if (!without_files) return without_files;
    loaded.mistakes.push_back(std::move(checked.error()));
    checked = std::move(without_files);
  }
  for (const auto& mistake : loaded.mistakes) {
    checked->warnings.push_back(mistake.message + "; going on without it");
  }
  return checked;
}

}  // namespace proxyvpn::app
