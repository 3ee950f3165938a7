#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <sstream>
#include <utility>

#include "firewall/command_firewall.h"
#include "firewall/nft_text.h"
#include "firewall/nftables_monitor.h"
#include "firewall/nftnl_compile.h"
#include "firewall/run_command.h"

namespace proxyvpn::firewall {
namespace {

class NftCommandFirewall final : public Firewall {
 public:
  NftCommandFirewall(std::string nft, std::optional<NftablesMonitor> monitor)
      : nft_(std::move(nft)), monitor_(std::move(monitor)) {}

  [[nodiscard]] std::string name() const override { return "nft"; }
  Result<> install(const Policy& policy) override;
  Result<> remove() override;
  Result<Presence> presence() override;
  Result<bool> intact() override;
  Result<std::vector<Counter>> counters() override;
  [[nodiscard]] int monitor_fd() const noexcept override { return monitor_ ? monitor_->fd() : -1; }
  // 0 is the kernel's own port: nobody is us, as each command has a socket of its own.
  bool drain_monitor() noexcept override { return monitor_ && monitor_->drain({table_}, 0); }

 private:
  struct State {
    bool present = false;
    bool owned = false;
  };
  using States = std::array<State, kTableFamilies.size()>;

  Result<States> read_states(const std::string& name);
  Result<std::string> transaction(const Ruleset& ruleset, const std::string& name);
  Result<std::string> listing(const Ruleset& ruleset);
  [[nodiscard]] bool same_structure(const Table& want) const;

  std::string nft_;
  std::optional<NftablesMonitor> monitor_;
  std::string table_ = Policy{}.table;
  bool installed_ = false;
  Ruleset ruleset_{};
  std::string listing_;
};

Result<NftCommandFirewall::States> NftCommandFirewall::read_states(const std::string& name) {
  States states;
  auto tables = run_checked(nft_, {"list", "tables"}, {});
  if (!tables) return tl::unexpected<Error>(tables.error());
  for (std::size_t i = 0; i < kTableFamilies.size(); ++i) {
    const std::string place = std::string(to_string(kTableFamilies[i])) + " " + name;
    if (("\n" + *tables + "\n").find("\ntable " + place + "\n") == std::string::npos) continue;
    states[i].present = true;
    auto head = run_checked(nft_, {"-t", "list", "table", to_string(kTableFamilies[i]), name}, {});
    if (!head) return tl::unexpected<Error>(head.error());
    states[i].owned = head->find("\tflags owner") != std::string::npos;
  }
  return states;
}

Result<> refuse_owned(bool owned, const std::string& name) {
  if (!owned) return {};
  return fail(Code::Busy, "the firewall table " + name +
                              " belongs to another running process; end that one first");
}

// A set that packets fill lists differently each time.
void cut_set(std::string& listing, const std::string& set) {
  const std::size_t from = listing.find("\tset " + set + " {\n");
  if (from == std::string::npos) return;
  const std::size_t to = listing.find("\n\t}\n", from);
  listing.erase(from, to == std::string::npos ? to : to - from);
}

// Everything in the tables but what packets change.
Result<std::string> NftCommandFirewall::listing(const Ruleset& ruleset) {
  std::string all;
  for (const Table& table : ruleset.tables) {
    auto text = run_checked(nft_, {"-s", "list", "table", to_string(table.family), table.name}, {});
    if (!text) return text;
    for (const Set& set : table.sets) {
      if (set.dynamic) cut_set(*text, set.name);
    }
    all += *text;
  }
  return all;
}

bool NftCommandFirewall::same_structure(const Table& want) const {
  const Table* have = find_table(ruleset_, want.family);
  return have != nullptr && have->name == want.name && structure(*have) == structure(want);
}

// Everything in one transaction, whatever is there now.
Result<std::string> NftCommandFirewall::transaction(const Ruleset& ruleset,
                                                    const std::string& name) {
  auto states = read_states(name);
  if (!states) return tl::unexpected<Error>(states.error());
  const bool ours = installed_ && intact().value_or(false);
  std::string text;
  for (std::size_t i = 0; i < kTableFamilies.size(); ++i) {
    const State& have = (*states)[i];
    if (auto free = refuse_owned(have.owned, name); !free)
      return tl::unexpected<Error>(free.error());
    const Table* want = find_table(ruleset, kTableFamilies[i]);
    if (want != nullptr && ours && same_structure(*want)) {
      text += to_nft(*want, Replace::InPlace);
    } else if (want != nullptr) {
      text += to_nft(*want, have.present ? Replace::Present : Replace::Absent);
    } else if (have.present) {
      text += std::string("delete table ") + to_string(kTableFamilies[i]) + " " + name + "\n";
    }
  }
  return text;
}

Result<> NftCommandFirewall::install(const Policy& policy) {
  const std::string doing = "cannot put the firewall rules in force";
  if (auto checked = check(policy); !checked) return wrap(checked.error(), doing);
  const Ruleset ruleset = build_ruleset(policy);
  const auto text = transaction(ruleset, policy.table);
  if (!text) return wrap(text.error(), doing);
  if (auto done = run_checked(nft_, {"-f", "-"}, *text); !done) return wrap(done.error(), doing);
  if (installed_ && table_ != policy.table) {
    if (auto gone = remove(); !gone) return gone;
  }
  table_ = policy.table;
  installed_ = true;
  auto list = listing(ruleset);
  if (!list) return wrap(list.error(), "cannot read the firewall rules back");
  ruleset_ = ruleset;
  listing_ = *list;
  (void)drain_monitor();  // what it tells now is what we have just done
  return {};
}

Result<> NftCommandFirewall::remove() {
  const std::string doing = "cannot remove the firewall table " + table_;
  auto states = read_states(table_);
  if (!states) return wrap(states.error(), doing);
  std::string text;
  for (std::size_t i = 0; i < kTableFamilies.size(); ++i) {
    if (auto free = refuse_owned((*states)[i].owned, table_); !free)
      return wrap(free.error(), doing);
    if ((*states)[i].present)
      text += std::string("delete table ") + to_string(kTableFamilies[i]) + " " + table_ + "\n";
  }
  if (!text.empty()) {
    if (auto done = run_checked(nft_, {"-f", "-"}, text); !done) return wrap(done.error(), doing);
  }
  installed_ = false;
  (void)drain_monitor();
  return {};
}

Result<Presence> NftCommandFirewall::presence() {
  auto states = read_states(table_);
  if (!states) return wrap(states.error(), "cannot look for the firewall table " + table_);
  bool present = false;
  for (const State& state : *states) {
    if (state.owned) return Presence::Owned;
    present = present || state.present;
  }
  if (!present) return Presence::Absent;
  return installed_ ? Presence::Ours : Presence::Orphan;
}

Result<bool> NftCommandFirewall::intact() {
  if (!installed_) return false;
  auto now = listing(ruleset_);
  if (now) return *now == listing_;
  if (now.error().code == Code::NotFound) return false;
  return tl::unexpected<Error>(now.error());
}

// "counter refused-dns {" and, on the next line, "packets 0 bytes 0".
Result<std::vector<Counter>> NftCommandFirewall::counters() {
  std::vector<Counter> counters;
  auto list = run_checked(nft_, {"list", "counters", "table", "inet", table_}, {});
  if (!list && list.error().code == Code::NotFound) return counters;
  if (!list) return wrap(list.error(), "cannot read the firewall's counters");
  std::istringstream words(*list);
  const std::string prefix = kCounterPrefix;
  Counter counter;
  for (std::string word; words >> word;) {
    if (word == "counter" && words >> word && word.rfind(prefix, 0) == 0) {
      counter.reason = word.substr(prefix.size());
    } else if (word == "packets" && !counter.reason.empty() &&
               words >> counter.packets >> word >> counter.bytes) {
      counters.push_back(std::exchange(counter, {}));
    }
  }
  return counters;
}

}  // namespace

Result<std::unique_ptr<Firewall>> open_nft_command_firewall() {
  auto nft = find_command("nft");
  if (!nft) return fail(Code::Unsupported, nft.error().message + "; Debian's package is nftables");
  // Does it work here, and may we?
  auto works = run_checked(*nft, {"list", "tables"}, {});
  if (!works) {
    const Code code = works.error().code;
    return fail(code == Code::Permission ? code : Code::Unsupported, works.error().message);
  }
  auto monitor = NftablesMonitor::open();
  return std::make_unique<NftCommandFirewall>(
      std::move(*nft), monitor ? std::optional(std::move(*monitor)) : std::nullopt);
}

}  // namespace proxyvpn::firewall
