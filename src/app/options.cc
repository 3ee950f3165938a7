#include "app/options.h"

#include <CLI/CLI.hpp>

// Names, help, groups, defaults and exclusions. What the values mean is judged in
// options_config.cc.
namespace proxyvpn::app {
namespace {

constexpr const char* kProxy = "Proxy Configuration";
constexpr const char* kNetwork = "Network Configuration";
constexpr const char* kGeneral = "General";

// One value; when an option that takes one is given twice, CLI11 says so.
template <class T>
CLI::Option* value(CLI::App& app, const char* group, const char* name, T& target, const char* type,
                   const char* help) {
  return app.add_option(name, target, help)->type_name(type)->group(group);
}

CLI::Option* with_default(CLI::Option* option) { return option->capture_default_str(); }

// Once per value: a list option must not swallow what follows its value.
CLI::Option* list(CLI::App& app, const char* group, const char* name,
                  std::vector<std::string>& target, const char* type, const char* help) {
  return app.add_option(name, target, help)
      ->type_name(type)
      ->group(group)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Option* flag(CLI::App& app, const char* group, const char* name, bool& target,
                  const char* help) {
  return app.add_flag(name, target, help)->group(group);
}

void define_proxy(CLI::App& app, UpFlags& flags) {
  auto* url = value(app, kProxy, "--proxy-url", flags.proxy_url, "URL",
                    "Full proxy URL: http://user:pass@host:port (also PROXYVPN_PROXY_URL)");
  auto* host = value(app, kProxy, "--proxy-host", flags.proxy_host, "HOST",
                     "Upstream proxy: host name or address");
  auto* port = value(app, kProxy, "--proxy-port", flags.proxy_port, "PORT", "Upstream proxy: port");
  host->excludes(url)->needs(port);
  port->excludes(url)->needs(host);
  value(app, kProxy, "--username", flags.username, "USER", "User name for the proxy");
  auto* password = value(app, kProxy, "--password", flags.password, "PASS",
                         "Password for the proxy (prefer --password-file)");
  value(app, kProxy, "--password-file", flags.password_file, "PATH",
        "Read the password from a file; '-' is standard input")
      ->excludes(password);
  list(app, kProxy, "--proxy-ip", flags.proxy_ip, "IP",
       "Address of the proxy, no name is looked up (repeatable)");
  with_default(value(app, kProxy, "--connect-timeout", flags.connect_timeout, "SECONDS",
                     "Longest wait for the proxy to open one connection"));
  with_default(value(app, kProxy, "--preconnect", flags.preconnect, "N",
                     "Connections to the proxy held open ahead of need"));
}

void define_device(CLI::App& app, UpFlags& flags) {
  with_default(
      value(app, kNetwork, "--tun-name", flags.tun_name, "NAME", "Name of the TUN interface"));
  with_default(value(app, kNetwork, "--tun-cidr", flags.tun_cidr, "CIDR",
                     "IPv4 address and prefix of the TUN interface"));
  with_default(value(app, kNetwork, "--tun-cidr6", flags.tun_cidr6, "CIDR",
                     "IPv6 address and prefix of the TUN interface, or 'none': IPv6 is refused"));
  with_default(value(app, kNetwork, "--mtu", flags.mtu, "BYTES", "MTU of the TUN interface"));
  flag(app, kNetwork, "--no-offload", flags.no_offload,
       "Do without checksum and segmentation offload on the TUN interface");
}

void define_traffic(CLI::App& app, UpFlags& flags) {
  list(app, kNetwork, "--dns", flags.dns, "IP",
       "Resolver that is reached directly (repeatable); without --dns and --allow-dns those of the "
       "system are");
  list(app, kNetwork, "--allow-dns", flags.allow_dns, "IP",
       "Additional resolver that is reached directly (repeatable)");
  list(app, kNetwork, "--exclude", flags.exclude, "CIDR",
       "Network that is reached directly, not through the proxy (repeatable)");
  flag(app, kNetwork, "--allow-lan", flags.allow_lan,
       "Reach private and link-local networks directly: 10.0.0.0/8, 172.16.0.0/12, "
       "192.168.0.0/16, 169.254.0.0/16, fc00::/7, fe80::/10");
  list(app, kNetwork, "--exempt-user", flags.exempt_user, "USER",
       "User whose TCP goes direct, such as that of a proxy on this machine (repeatable)");
  auto* off = flag(app, kNetwork, "--no-killswitch", flags.no_killswitch,
                   "Disable the firewall killswitch");
  flag(app, kNetwork, "--persist-killswitch", flags.persist_killswitch,
       "Keep the machine shut after 'down'")
      ->excludes(off);
  flag(app, kNetwork, "--egress-guard", flags.egress_guard,
       "Also stop raw sockets and bridged guests at the outgoing interfaces")
      ->excludes(off);
}

void define_host_numbers(CLI::App& app, UpFlags& flags) {
  with_default(value(app, kNetwork, "--firewall", flags.firewall, "BACKEND",
                     "auto, nftables, nft, iptables-nft or iptables-legacy"));
  with_default(value(app, kNetwork, "--mark-capture", flags.mark_capture, "MARK",
                     "Packet mark of what goes through the proxy"));
  with_default(value(app, kNetwork, "--mark-bypass", flags.mark_bypass, "MARK",
                     "Packet mark of our own connections to the proxy"));
  with_default(value(app, kNetwork, "--mark-mask", flags.mark_mask, "MASK",
                     "Bits of the packet mark that are ours"));
  with_default(value(app, kNetwork, "--route-table", flags.route_table, "TABLE",
                     "Number of the route table"));
  with_default(value(app, kNetwork, "--rule-priority", flags.rule_priority, "PRIORITY",
                     "Policy rules in front of 'main' (this number and the next)"));
  with_default(value(app, kNetwork, "--fallback-priority", flags.fallback_priority, "PRIORITY",
                     "Policy rule behind 'main'"));
}

void define_general(CLI::App& app, UpFlags& flags) {
  value(app, kGeneral, "--state-dir", flags.state_dir, "PATH", "State directory")
      ->default_str(Config{}.state_dir);
  flag(app, kGeneral, "--detach", flags.detach,
       "Return once traffic flows and go on in the background");
  flag(app, kGeneral, "--verbose", flags.verbose, "Verbose logging, one line per connection");
  flag(app, kGeneral, "--dry-run", flags.dry_run,
       "Print the changes as ip and nft commands, apply none");
  flag(app, kGeneral, "--keep-logs", flags.keep_logs, "Keep state files on teardown");
  with_default(value(app, kGeneral, "--workers", flags.workers, "N",
                     "Worker processes; 0 is one per processor core"));
  with_default(value(app, kGeneral, "--memory-budget", flags.memory_budget, "SIZE",
                     "Most memory for data in flight, per worker"));
}

}  // namespace

void define_up(CLI::App& app, UpFlags& flags) {
  define_proxy(app, flags);
  define_device(app, flags);
  define_traffic(app, flags);
  define_host_numbers(app, flags);
  define_general(app, flags);
}

void define_down(CLI::App& app, DownFlags& flags) {
  with_default(
      value(app, kNetwork, "--tun-name", flags.tun_name, "NAME", "Name of the TUN interface"));
  with_default(value(app, kNetwork, "--firewall", flags.firewall, "BACKEND",
                     "auto, nftables, nft, iptables-nft or iptables-legacy"));
  value(app, kGeneral, "--state-dir", flags.state_dir, "PATH", "State directory")
      ->default_str(Config{}.state_dir);
  flag(app, kGeneral, "--keep-logs", flags.keep_logs, "Keep state files");
  flag(app, kGeneral, "--verbose", flags.verbose, "Verbose logging");
}

}  // namespace proxyvpn::app
