#pragma once
// The options of `up` and of the commands beside it: what was given and where, as text; every check
// in to_config(). Names, help and defaults stand in option_table.cc, once for the command line, the
// configuration file and the completions. The rest of the program sees only Config.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "base/error.h"

namespace CLI {
class App;
}

namespace proxyvpn::app {

// Where a value comes from; a later one wins.
enum class Place : std::uint8_t { Default, SystemFile, UserFile, Environment, CommandLine };

// The two files that are read without being asked for; empty: there is none. Found once, at the
// start, as finding a home directory may ask a user database on the network.
struct ConfigPaths {
  std::string system = "/etc/proxyvpn/config.toml";
  std::string user;  // $XDG_CONFIG_HOME/proxyvpn/config.toml, ~/.config/proxyvpn/config.toml
};

struct Origin {
  Place place = Place::Default;
  std::string source;               // "PROXYVPN_PROXY_URL", "/etc/proxyvpn/config.toml:3"
  std::vector<std::string> labels;  // for a file, one for each value: "/etc/...toml:3:9: mtu"
};

// What was typed or written, as text: so that every wrong value gets a sentence of ours.
struct UpFlags {
  // By the option's name without its dashes; what is not in here has its default.
  std::map<std::string, Origin, std::less<>> origins;
  // How an error names the option: "--mtu", or with the place in the file in front.
  [[nodiscard]] std::string label(std::string_view name, std::size_t index = 0) const;
  [[nodiscard]] Place place(std::string_view name) const;

  std::optional<std::string> config;
  std::optional<std::string> proxy_url;
  std::optional<std::string> proxy_host;
  std::optional<std::string> proxy_port;
  std::optional<std::string> username;
  std::optional<std::string> password;
  std::optional<std::string> password_file;
  std::vector<std::string> proxy_ip;
  std::string connect_timeout = "10";
  std::string preconnect = "0";
  std::vector<std::string> source_address;
  bool no_fast_open = false;

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
  std::string log_level = "info";
  std::string log_format = "auto";
  bool dry_run = false;
  bool keep_logs = false;
  std::string workers = "0";
  std::string memory_budget = "256M";
  std::optional<std::string> metrics;
};

// The few of them that commands take which act on a daemon from outside.
struct DownFlags : UpFlags {
  std::optional<ConfigPaths> paths;  // instead of the machine's
};

// The part of `up` that says which proxy and how to ask it, for commands that need no more.
void define_proxy(CLI::App& app, UpFlags& flags);
// All keep references to `flags`, which must outlive the parse and stay where it is.
void define_up(CLI::App& app, UpFlags& flags);
void define_down(CLI::App& app, DownFlags& flags);

struct Checked {
  Config config;
  std::vector<std::string> warnings;  // sentences for stderr; nothing that stops
};

// Everything that can be judged without looking at the machine, except that names of users are
// looked up and the password file is read. Secrets in `flags` are wiped. Code::InvalidArgument for
// what was typed or written, another code for what the machine answered (password file).
struct Judgement {
  Checked checked;              // the config is good for use only without mistakes
  std::vector<Error> mistakes;  // all of them, each a sentence
  bool no_proxy = false;        // none is given anywhere
};
struct JudgeWhat {
  bool proxy_needed = true;    // no proxy at all is a mistake
  bool read_password = true;   // --password-file is opened
  bool standard_input = true;  // also "-"
};
Judgement judge(UpFlags& flags, JudgeWhat what = {});
// What was typed, and what the configuration files add: those are followed as far as they are good,
// and a broken one is a warning, as it must not be in the way of `down`. The first mistake of what
// was typed is the error.
Result<Checked> to_config(const DownFlags& flags);

}  // namespace proxyvpn::app
