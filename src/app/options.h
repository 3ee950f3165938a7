#pragma once
// The options of `up` and `down`: names, help, defaults and exclusions in define_*(), every check
// in to_config(). The rest of the program sees only Config.
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "base/error.h"

namespace CLI {
class App;
}

namespace proxyvpn::app {

// What was typed, as text: so that every wrong value gets a sentence of ours.
struct UpFlags {
  std::optional<std::string> proxy_url;
  std::optional<std::string> proxy_host;
  std::optional<std::string> proxy_port;
  std::optional<std::string> username;
  std::optional<std::string> password;
  std::optional<std::string> password_file;
  std::vector<std::string> proxy_ip;
  std::string connect_timeout = "10";
  std::string preconnect = "0";

  std::string tun_name = "tun0";
  std::string tun_cidr{kDefaultTunCidr};
  std::string tun_cidr6{kDefaultTunCidr6};
  std::string mtu = "1500";
  std::vector<std::string> dns;
  std::vector<std::string> allow_dns;
  std::vector<std::string> exclude;
  bool allow_lan = false;
  std::vector<std::string> exempt_user;
  bool no_killswitch = false;
  bool persist_killswitch = false;
  bool egress_guard = false;
  std::string firewall = "auto";
  std::string mark_capture = "0x10000000";
  std::string mark_bypass = "0x20000000";
  std::string mark_mask = "0x30000000";
  std::string route_table = std::to_string(netlink::kDefaultTable);
  std::string rule_priority = std::to_string(netlink::kDefaultRulePriority);
  std::string fallback_priority = std::to_string(netlink::kDefaultFallbackPriority);
  bool no_offload = false;

  std::optional<std::string> state_dir;
  bool detach = false;
  bool verbose = false;
  bool dry_run = false;
  bool keep_logs = false;
  std::string workers = "0";
  std::string memory_budget = "256M";
};

struct DownFlags {
  std::optional<std::string> state_dir;
  std::string tun_name = "tun0";
  std::string firewall = "auto";
  bool keep_logs = false;
  bool verbose = false;
};

// Both keep references to `flags`, which must outlive the parse.
void define_up(CLI::App& app, UpFlags& flags);
void define_down(CLI::App& app, DownFlags& flags);

struct Checked {
  Config config;
  std::vector<std::string> warnings;  // sentences for stderr; nothing that stops
};

// Everything that can be judged without looking at the machine, except that names of users are
// looked up and the password file is read. Secrets in `flags` are wiped. The first thing that is
// wrong is the error: Code::InvalidArgument for what was typed, another code for what the machine
// answered (password file).
Result<Checked> to_config(UpFlags& flags);
Result<Checked> to_config(const DownFlags& flags);

}  // namespace proxyvpn::app
