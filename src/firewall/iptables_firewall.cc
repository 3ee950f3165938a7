#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "firewall/command_firewall.h"
#include "firewall/egress_guard.h"
#include "firewall/iptables_text.h"
#include "firewall/netfilter_socket.h"
#include "firewall/nftables_monitor.h"
#include "firewall/nftnl_compile.h"
#include "firewall/nftnl_state.h"
#include "firewall/run_command.h"

namespace proxyvpn::firewall {
namespace {

constexpr std::array kTables{"mangle", "filter"};
constexpr std::array kReasons{"dns", "udp", "icmp", "tcp", "forward", "spoofed-tun", "other"};

// The two commands of one family.
struct Tools {
  Family family = Family::V4;
  std::string save;
  std::string restore;
};

class IptablesFirewall final : public Firewall {
 public:
  IptablesFirewall(std::string name, std::vector<Tools> tools,
                   std::optional<NetfilterSocket> socket, std::optional<NftablesMonitor> monitor)
      : name_(std::move(name)),
        tools_(std::move(tools)),
        socket_(std::move(socket)),
        monitor_(std::move(monitor)) {}

  [[nodiscard]] std::string name() const override { return name_; }
  Result<> install(const Policy& policy) override;
  Result<> remove() override;
  Result<Presence> presence() override;
  Result<bool> intact() override;
  Result<std::vector<Counter>> counters() override;
  [[nodiscard]] int monitor_fd() const noexcept override { return monitor_ ? monitor_->fd() : -1; }
  // iptables-nft's tables are called as iptables calls them.
  bool drain_monitor() noexcept override {
    return monitor_ && monitor_->drain({"mangle", "filter"}, 0);
  }

 private:
  Result<SavedTable> read(const Tools& tools, const std::string& table);
  Result<> replace(const Tools& tools, std::vector<IptablesTable>& tables);
  Result<> remove(const Tools& tools, const char* table);
  bool is_missing(Family family, const std::string& table);
  void remove_empty(Family family, const std::string& table);
  Result<std::string> state();
  // In `wanted_`'s order: mangle and filter of each family.
  std::vector<std::vector<IptablesTable>> wanted_;

  std::string name_;
  std::vector<Tools> tools_;
  std::optional<NetfilterSocket> socket_;  // iptables-nft, where netlink works
  std::optional<NftablesMonitor> monitor_;
  bool installed_ = false;
  std::string state_;
};

Result<SavedTable> IptablesFirewall::read(const Tools& tools, const std::string& table) {
  auto text = run_checked(tools.save, {"-t", table}, {});
  if (!text) return tl::unexpected<Error>(text.error());
  return parse_saved(*text);
}

TableFamily table_family(Family family) {
  return family == Family::V4 ? TableFamily::Ip : TableFamily::Ip6;
}

bool IptablesFirewall::is_missing(Family family, const std::string& table) {
  if (!socket_) return false;
  const auto have = read_table(*socket_, table_family(family), table);
  return have && !have->present;
}

// iptables makes tables and base chains where there are none and leaves them behind. Only when
// nothing but such chains is there now: whoever uses the table has something in it.
void IptablesFirewall::remove_empty(Family family, const std::string& table) {
  if (!socket_) return;
  const auto content = read_content(*socket_, table_family(family), table);
  const auto lines = read_structure(*socket_, table_family(family), table);
  if (!content || content->rules != 0 || !lines) return;
  for (const std::string& line : *lines) {
    const bool idle = line.rfind("chain ", 0) == 0 && line.find(" accept") != std::string::npos;
    if (!idle) return;
  }
  Batch batch;
  delete_table(batch, table_family(family), table);
  // An empty table that stays does nothing.
  (void)socket_->commit(std::move(batch));
}

Result<> IptablesFirewall::replace(const Tools& tools, std::vector<IptablesTable>& tables) {
  std::string text;
  for (IptablesTable& table : tables) {
    const bool missing = is_missing(tools.family, table.name);
    auto have = read(tools, table.name);
    if (!have) return tl::unexpected<Error>(have.error());
    if (have->chains.empty() && table.chains.empty()) continue;
    const auto& chains = have->chains;
    if (missing || std::find(chains.begin(), chains.end(), kMadeHere) != chains.end())
      table.chains.emplace_back(kMadeHere);
    text += to_restore(table, *have);
  }
  if (text.empty()) return {};
  auto done = run_checked(tools.restore, {"--noflush", "-w", "5"}, text);
  if (!done) return tl::unexpected<Error>(done.error());
  return {};
}

Result<> IptablesFirewall::remove(const Tools& tools, const char* table) {
  auto have = read(tools, table);
  if (!have) return tl::unexpected<Error>(have.error());
  if (have->chains.empty()) return {};
  const auto& chains = have->chains;
  const bool made_here = std::find(chains.begin(), chains.end(), kMadeHere) != chains.end();
  auto done =
      run_checked(tools.restore, {"--noflush", "-w", "5"}, to_restore({table, {}, {}, {}}, *have));
  if (!done) return tl::unexpected<Error>(done.error());
  if (made_here) remove_empty(tools.family, table);
  return {};
}

Result<> IptablesFirewall::install(const Policy& policy) {
  const std::string doing = "cannot put the firewall rules in force";
  if (auto checked = check(policy); !checked) return wrap(checked.error(), doing);
  if (guards_egress(policy))
    return fail(Code::Unsupported, doing + ": --egress-guard needs nftables, " + name_ +
                                       " cannot filter what a link sends");
  const Ruleset ruleset = build_ruleset(policy);
  std::vector<std::vector<IptablesTable>> wanted;
  for (const Tools& tools : tools_) {
    auto tables = to_iptables(ruleset.tables.front(), tools.family);
    if (!tables) return wrap(tables.error(), doing);
    wanted.push_back(std::move(*tables));
  }
  wanted_ = std::move(wanted);
  for (std::size_t i = 0; i < tools_.size(); ++i) {
    if (auto done = replace(tools_[i], wanted_[i]); !done) return wrap(done.error(), doing);
  }
  installed_ = true;
  auto now = state();
  if (!now) return wrap(now.error(), "cannot read the firewall rules back");
  state_ = *now;
  (void)drain_monitor();  // what it tells now is what we have just done
  if (state_.empty())
    return fail(Code::System, doing + ": " + name_ + " took the rules, and now they are not there");
  return {};
}

// Filter first: as long as mangle is there, nothing leaves that should not.
Result<> IptablesFirewall::remove() {
  for (const Tools& tools : tools_) {
    for (auto table = kTables.rbegin(); table != kTables.rend(); ++table) {
      if (auto done = remove(tools, *table); !done)
        return wrap(done.error(), "cannot remove the chains " + std::string(kChainPrefix) + "*");
    }
  }
  installed_ = false;
  (void)drain_monitor();
  return {};
}

Result<Presence> IptablesFirewall::presence() {
  for (const Tools& tools : tools_) {
    for (const char* table : kTables) {
      auto have = read(tools, table);
      if (!have) return wrap(have.error(), "cannot look for the chains of " + name_);
      if (!have->chains.empty()) return installed_ ? Presence::Ours : Presence::Orphan;
    }
  }
  return Presence::Absent;
}

// Everything of ours as iptables-save prints it; empty when a jump is not where it must be.
Result<std::string> IptablesFirewall::state() {
  std::string text;
  for (std::size_t i = 0; i < tools_.size(); ++i) {
    for (const IptablesTable& table : wanted_[i]) {
      auto have = read(tools_[i], table.name);
      if (!have) return tl::unexpected<Error>(have.error());
      if (!jumps_in_place(table, *have) || have->chains.size() != table.chains.size() ||
          have->rules.size() != table.rules.size())
        return std::string();
      text += "*" + table.name + "\n";
      for (const std::string& rule : have->rules) text += rule + "\n";
    }
  }
  return text;
}

Result<bool> IptablesFirewall::intact() {
  if (!installed_) return false;
  auto now = state();
  if (!now) return tl::unexpected<Error>(now.error());
  return !now->empty() && *now == state_;
}

// "[12:1024] -A PROXYVPN_REFUSE ... --comment refused-udp -j REJECT ..."
void add_counts(const std::string& text, std::vector<Counter>& counters) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const std::size_t colon = line.find(':');
    const std::size_t close = line.find(']');
    if (line.rfind('[', 0) != 0 || colon > close || close == std::string::npos) continue;
    if (line.compare(close, 5 + sizeof kChainPrefix - 1, std::string("] -A ") + kChainPrefix) != 0)
      continue;
    for (Counter& counter : counters) {
      const std::string comment = std::string("--comment ") + kCounterPrefix + counter.reason + " ";
      std::string plain = line;
      plain.erase(std::remove(plain.begin(), plain.end(), '"'), plain.end());
      if (plain.find(comment) == std::string::npos) continue;
      std::uint64_t packets = 0;
      std::uint64_t bytes = 0;
      std::from_chars(line.data() + 1, line.data() + colon, packets);
      std::from_chars(line.data() + colon + 1, line.data() + close, bytes);
      counter.packets += packets;
      counter.bytes += bytes;
    }
  }
}

Result<std::vector<Counter>> IptablesFirewall::counters() {
  std::vector<Counter> counters;
  counters.reserve(kReasons.size());
  for (const char* reason : kReasons) counters.push_back({reason, 0, 0});
  bool present = false;
  for (const Tools& tools : tools_) {
    for (const char* table : kTables) {
      auto text = run_checked(tools.save, {"-c", "-t", table}, {});
      if (!text) return wrap(text.error(), "cannot read the firewall's counters");
      present = present || text->find(std::string("\n:") + kChainPrefix) != std::string::npos;
      add_counts(*text, counters);
    }
  }
  if (!present) counters.clear();
  return counters;
}

}  // namespace

namespace {

Result<Tools> find_tools(Family family, const std::string& variant) {
  const std::string command = (family == Family::V4 ? "iptables-" : "ip6tables-") + variant;
  Tools tools{family, {}, {}};
  for (auto* path : {&tools.save, &tools.restore}) {
    auto found = find_command(command + (path == &tools.save ? "-save" : "-restore"));
    if (!found)
      return fail(Code::Unsupported, found.error().message + "; Debian's package is iptables");
    *path = *found;
  }
  auto works = run_checked(tools.save, {"-t", "mangle"}, {});
  if (works) return tools;
  const Code code = works.error().code;
  return fail(code == Code::Permission ? code : Code::Unsupported, works.error().message);
}

}  // namespace

Result<std::unique_ptr<Firewall>> open_iptables_firewall(Backend backend) {
  const bool legacy = backend == Backend::IptablesLegacy;
  const std::string variant = legacy ? "legacy" : "nft";
  std::vector<Tools> tools;
  for (const Family family : {Family::V4, Family::V6}) {
    // A kernel without IPv6 has no table for it, and nothing to refuse.
    if (family == Family::V6 && ::access("/proc/net/if_inet6", F_OK) != 0) continue;
    auto found = find_tools(family, variant);
    if (!found) return tl::unexpected<Error>(found.error());
    tools.push_back(std::move(*found));
  }
  std::optional<NetfilterSocket> socket;
  std::optional<NftablesMonitor> monitor;
  if (!legacy) {
    if (auto opened = NetfilterSocket::open()) socket = std::move(*opened);
    if (auto opened = NftablesMonitor::open()) monitor = std::move(*opened);
  }
  return std::make_unique<IptablesFirewall>("iptables-" + variant, std::move(tools),
                                            std::move(socket), std::move(monitor));
}

}  // namespace proxyvpn::firewall
