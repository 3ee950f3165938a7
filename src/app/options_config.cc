// What was typed into a Config: every check that needs no look at the machine's network.
#include <algorithm>

#include "app/option_values.h"
#include "app/options.h"
#include "app/password_file.h"

namespace proxyvpn::app {
namespace {

using namespace std::chrono_literals;

// RFC 7617: user-id is any text without a colon, as the first colon ends it, and without control
// characters.
Result<> check_username(const std::string& name) {
  const bool control =
      std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (name.find(':') != std::string::npos || control) {
    return fail(Code::InvalidArgument,
                "--username: a user name has no ':' and no control character in it (RFC 7617); "
                "give the password with --password-file");
  }
  return {};
}

Result<connect::ProxyUrl> parse_host_and_port(const UpFlags& flags) {
  const auto& host = *flags.proxy_host;
  if (host.empty() || host.find_first_of("@/?#[]%\\ \t") != std::string::npos) {
    if (!host.starts_with('[') || !host.ends_with(']')) {
      return fail(Code::InvalidArgument, "--proxy-host '" + host +
                                             "': must be a host name or an address alone; for a "
                                             "whole URL use --proxy-url");
    }
  }
  const auto port = parse_number("--proxy-port", flags.proxy_port.value_or(""), 1, 65535);
  if (!port) return tl::unexpected(port.error());
  const bool bare_v6 = host.find(':') != std::string::npos && !host.starts_with('[');
  const std::string authority = bare_v6 ? "[" + host + "]" : host;
  auto url = connect::parse_proxy_url("http://" + authority + ":" + std::to_string(*port));
  if (!url) return wrap(url.error(), "--proxy-host '" + host + "'");
  return url;
}

Result<connect::ProxyUrl> parse_where(UpFlags& flags) {
  if (flags.proxy_url) {
    auto url = connect::parse_proxy_url(*flags.proxy_url);
    wipe(*flags.proxy_url);
    return url;  // its errors name the URL, and never show it
  }
  if (flags.proxy_host) return parse_host_and_port(flags);
  return fail(
      Code::InvalidArgument,
      "no proxy is given; use --proxy-url http://host:port, or --proxy-host and --proxy-port, "
      "or set PROXYVPN_PROXY_URL");
}

// The password from --password or --password-file; empty when neither was given.
Result<std::optional<Secret>> parse_password(UpFlags& flags, std::vector<std::string>& warnings) {
  if (flags.password) {
    auto password = checked_password(std::move(*flags.password), "--password");
    if (!password) return tl::unexpected(password.error());
    return std::optional<Secret>(std::move(*password));
  }
  if (!flags.password_file) return std::optional<Secret>();
  auto file = read_password_file(*flags.password_file);
  if (!file) return tl::unexpected(file.error());
  if (!file->warning.empty()) warnings.push_back(file->warning);
  return std::optional<Secret>(std::move(file->password));
}

// User and password may stand in the URL, in options, or the user there and the password here; what
// is given twice is an error, as one of the two would be ignored.
Result<> add_credentials(UpFlags& flags, connect::ProxyUrl& url,
                         std::vector<std::string>& warnings) {
  auto password = parse_password(flags, warnings);
  if (!password) return tl::unexpected(password.error());
  if (flags.username) {
    if (auto good = check_username(*flags.username); !good) return good;
    if (url.credentials && url.credentials->username != *flags.username) {
      return fail(Code::InvalidArgument, "two user names are given: '" + url.credentials->username +
                                             "' in the proxy URL and --username '" +
                                             *flags.username + "'; leave one out");
    }
    if (!url.credentials) url.credentials.emplace();
    url.credentials->username = *flags.username;
  }
  if (!*password) return {};
  if (!url.credentials) {
    return fail(Code::InvalidArgument,
                "a password is given but no user name; add --username, or user@ in the proxy URL");
  }
  if (!url.credentials->password.empty()) {
    return fail(Code::InvalidArgument,
                "two passwords are given, one in the proxy URL and one in an option; leave one "
                "out");
  }
  url.credentials->password = std::move(**password);
  return {};
}

// Reads one option's text into `target`; the first failure stays in `error`.
class Reader {
 public:
  template <class T, class U>
  void take(T& target, Result<U> value) {
    if (value) {
      target = static_cast<T>(std::move(*value));
    } else if (!error_) {
      error_ = std::move(value.error());
    }
  }
  template <class T>
  void append(std::vector<T>& target, Result<T> value) {
    if (value && std::find(target.begin(), target.end(), *value) == target.end()) {
      target.push_back(std::move(*value));
    } else if (!value && !error_) {
      error_ = std::move(value.error());
    }
  }
  void require(bool good, std::string sentence) {
    if (!good && !error_) error_ = Error{Code::InvalidArgument, 0, std::move(sentence)};
  }
  [[nodiscard]] Result<> result() const {
    if (error_) return tl::unexpected(*error_);
    return {};
  }

 private:
  std::optional<Error> error_;
};

void read_device(const UpFlags& flags, Config& config, Reader& reader) {
  reader.take(config.tun_name, parse_link_name("--tun-name", flags.tun_name));
  reader.take(config.tun_cidr, parse_tun_cidr("--tun-cidr", flags.tun_cidr, Family::V4));
  if (flags.tun_cidr6 != "none") {
    Cidr cidr;
    reader.take(cidr, parse_tun_cidr("--tun-cidr6", flags.tun_cidr6, Family::V6));
    config.tun_cidr6 = cidr;
  }
  // Below 1280 the kernel takes IPv6 off the device (RFC 8200 section 5); 65535 is the largest that
  // a TUN device takes (drivers/net/tun.c).
  reader.take(config.mtu, parse_number("--mtu", flags.mtu, 1280, 65535));
  config.offload = !flags.no_offload;
}

void read_traffic(const UpFlags& flags, Config& config, Reader& reader) {
  for (const auto& ip : flags.proxy_ip) {
    reader.append(config.proxy_ips, parse_unicast("--proxy-ip", ip));
  }
  for (const auto& ip : flags.dns) reader.append(config.dns, parse_unicast("--dns", ip));
  for (const auto& ip : flags.allow_dns) {
    reader.append(config.dns, parse_unicast("--allow-dns", ip));
  }
  for (const auto& cidr : flags.exclude) {
    reader.append(config.exclude, parse_network("--exclude", cidr));
  }
  for (const auto& user : flags.exempt_user) {
    reader.append(config.exempt_users, parse_user("--exempt-user", user));
  }
  config.allow_lan = flags.allow_lan;
  config.killswitch = !flags.no_killswitch;
  config.persist_killswitch = flags.persist_killswitch;
  config.egress_guard = flags.egress_guard;
}

void read_marks(const UpFlags& flags, Config& config, Reader& reader) {
  auto& marks = config.marks;
  reader.take(marks.mask, parse_number("--mark-mask", flags.mark_mask, 1, UINT32_MAX));
  reader.take(marks.capture, parse_number("--mark-capture", flags.mark_capture, 1, UINT32_MAX));
  reader.take(marks.bypass, parse_number("--mark-bypass", flags.mark_bypass, 1, UINT32_MAX));
  marks.inbound = marks.capture | marks.bypass;
  reader.require(
      (marks.inbound & ~marks.mask) == 0,
      "--mark-capture and --mark-bypass must lie within --mark-mask: " + flags.mark_capture +
          " and " + flags.mark_bypass + " within " + flags.mark_mask);
  // Three values are told apart: capture, bypass, and both bits together for "came in from
  // outside".
  reader.require(marks.inbound != marks.capture && marks.inbound != marks.bypass,
                 "--mark-capture " + flags.mark_capture + " and --mark-bypass " +
                     flags.mark_bypass + " must each have a bit that the other has not");
}

void read_host_numbers(const UpFlags& flags, Config& config, Reader& reader) {
  reader.take(config.backend, parse_backend("--firewall", flags.firewall));
  read_marks(flags, config, reader);
  reader.take(config.table, parse_number("--route-table", flags.route_table, 1, UINT32_MAX));
  reader.require(config.table < 253 || config.table > 255,
                 "--route-table " + flags.route_table +
                     ": 253, 254 and 255 are the system's own tables default, main and local");
  // This number and the next must stand in front of `main` (32766).
  reader.take(config.rule_priority, parse_number("--rule-priority", flags.rule_priority, 1, 32764));
  reader.take(config.fallback_priority,
              parse_number("--fallback-priority", flags.fallback_priority, 32768, UINT32_MAX));
}

Result<std::string> checked_state_dir(const std::string& path) {
  if (path.empty() || path.front() != '/') {
    return fail(Code::InvalidArgument, "--state-dir '" + path + "': must be an absolute path");
  }
  return path;
}

void read_general(const UpFlags& flags, Config& config, Reader& reader) {
  if (flags.state_dir) reader.take(config.state_dir, checked_state_dir(*flags.state_dir));
  config.state_dir_given = flags.state_dir.has_value();
  reader.take(config.connect_timeout,
              parse_duration("--connect-timeout", flags.connect_timeout, 100ms, 600s));
  reader.take(config.preconnect, parse_number("--preconnect", flags.preconnect, 0, 1024));
  reader.take(config.workers, parse_number("--workers", flags.workers, 0, 64));
  reader.take(config.memory_budget,
              parse_size("--memory-budget", flags.memory_budget, 8ull << 20, 64ull << 30));
  config.verbose = flags.verbose;
  config.dry_run = flags.dry_run;
  config.keep_logs = flags.keep_logs;
  config.detach = flags.detach;
}

}  // namespace

Result<Checked> to_config(UpFlags& flags) {
  Checked checked;
  auto& config = checked.config;
  auto where = parse_where(flags);
  if (!where) return tl::unexpected(where.error());
  config.proxy = std::move(*where);
  Reader reader;
  read_device(flags, config, reader);
  read_traffic(flags, config, reader);
  read_host_numbers(flags, config, reader);
  read_general(flags, config, reader);
  if (const auto good = reader.result(); !good) return tl::unexpected(good.error());
  // Last, so that nobody types a password before a typing error elsewhere is found.
  const auto good = add_credentials(flags, config.proxy, checked.warnings);
  if (!good) return tl::unexpected(good.error());
  return checked;
}

Result<Checked> to_config(const DownFlags& flags) {
  Checked checked;
  auto& config = checked.config;
  Reader reader;
  reader.take(config.tun_name, parse_link_name("--tun-name", flags.tun_name));
  reader.take(config.backend, parse_backend("--firewall", flags.firewall));
  if (flags.state_dir) reader.take(config.state_dir, checked_state_dir(*flags.state_dir));
  config.state_dir_given = flags.state_dir.has_value();
  config.keep_logs = flags.keep_logs;
  config.verbose = flags.verbose;
  if (const auto good = reader.result(); !good) return tl::unexpected(good.error());
  return checked;
}

}  // namespace proxyvpn::app
