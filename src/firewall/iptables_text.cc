#include "firewall/iptables_text.h"

#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <set>

#include "firewall/iptables_rule.h"

namespace proxyvpn::firewall {
namespace {

struct Place {
  const char* table = "";
  const char* chain = "";
};

Result<Place> place_of(const Hook& hook) {
  switch (hook.point) {
    case HookPoint::Prerouting:
      return Place{"mangle", "PREROUTING"};
    case HookPoint::Output:
      return hook.type == ChainType::Route ? Place{"mangle", "OUTPUT"} : Place{"filter", "OUTPUT"};
    case HookPoint::Forward:
      return Place{"filter", "FORWARD"};
    case HookPoint::Postrouting:
      return Place{"mangle", "POSTROUTING"};
    case HookPoint::Input:
      return Place{"filter", "INPUT"};
    case HookPoint::Egress:
      break;
  }
  return fail(Code::Unsupported, "iptables has no hook for this chain");
}

class Writer {
 public:
  Writer(const Table& inet, Family family) : inet_(inet), family_(family) {}

  Result<std::vector<IptablesTable>> write() {
    tables_[0].name = "mangle";
    tables_[1].name = "filter";
    for (const Chain& chain : inet_.chains) {
      if (chain.hook.empty()) continue;
      auto place = place_of(chain.hook.front());
      if (!place) return tl::unexpected<Error>(place.error());
      IptablesTable& table = place->table == tables_[0].name ? tables_[0] : tables_[1];
      table.jumps.push_back({place->chain, iptables_chain(chain.name)});
      if (auto done = append(table, chain); !done) return tl::unexpected<Error>(done.error());
    }
    return std::vector<IptablesTable>(tables_.begin(), tables_.end());
  }

 private:
  const Chain* find(const std::string& name) const {
    for (const Chain& chain : inet_.chains) {
      if (chain.name == name) return &chain;
    }
    return nullptr;
  }

  // The chain and those that it goes to, once per table.
  Result<> append(IptablesTable& table, const Chain& chain) {
    const std::string name = iptables_chain(chain.name);
    if (std::find(table.chains.begin(), table.chains.end(), name) != table.chains.end()) return {};
    table.chains.push_back(name);
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < chain.rules.size(); ++i) {
      const Rule& rule = chain.rules[i];
      const Verdict* jump =
          rule.statements.size() == 1 ? std::get_if<Verdict>(&rule.statements.front()) : nullptr;
      auto done = jump != nullptr && jump->action == Action::Jump
                      ? write_out(lines, name, *jump, chain, i)
                      : append_rule(lines, name, rule);
      if (!done) return done;
    }
    if (!chain.hook.empty() && chain.hook.front().drop) lines.push_back("-A " + name + " -j DROP");
    table.rules.insert(table.rules.end(), lines.begin(), lines.end());
    return append_targets(table, chain);
  }

  // The rules of `jump`'s chain in the place of the jump. "Return" goes on behind it, and what is
  // behind it must be one unconditional verdict for that to be one rule.
  Result<> write_out(std::vector<std::string>& lines, const std::string& name, const Verdict& jump,
                     const Chain& from, std::size_t at) {
    const Chain* called = find(jump.chain);
    const bool tail = at + 2 == from.rules.size() && from.rules.back().statements.size() == 1 &&
                      std::holds_alternative<Verdict>(from.rules.back().statements.front());
    if (called == nullptr || !tail)
      return fail(Code::Unsupported, "the jump to " + jump.chain + " cannot be written out");
    const Verdict behind = std::get<Verdict>(from.rules.back().statements.front());
    for (Rule rule : called->rules) {
      auto* verdict = std::get_if<Verdict>(&rule.statements.back());
      if (verdict != nullptr && verdict->action == Action::Return) *verdict = behind;
      if (auto done = append_rule(lines, name, rule); !done) return done;
    }
    return {};
  }

  Result<> append_rule(std::vector<std::string>& lines, const std::string& name, const Rule& rule) {
    auto written = to_iptables(inet_, family_, rule);
    if (!written) return tl::unexpected<Error>(written.error());
    const std::string start = "-A " + name;
    for (const std::string& line : *written) lines.push_back(start + line);
    return {};
  }

  Result<> append_targets(IptablesTable& table, const Chain& chain) {
    for (const Rule& rule : chain.rules) {
      const auto* verdict = std::get_if<Verdict>(&rule.statements.back());
      if (verdict == nullptr || verdict->action != Action::Goto) continue;
      const Chain* target = find(verdict->chain);
      if (target == nullptr) return fail(Code::NotFound, "no chain " + verdict->chain);
      if (auto done = append(table, *target); !done) return done;
    }
    return {};
  }

  const Table& inet_;
  Family family_;
  std::array<IptablesTable, 2> tables_;
};

bool is_ours(std::string_view chain) { return chain.rfind(kChainPrefix, 0) == 0; }

// Second word of "-A OUTPUT -j ..." or ":OUTPUT ACCEPT [0:0]".
std::string chain_of(const std::string& line) {
  const std::size_t from = line.rfind("-A ", 0) == 0 ? 3 : 1;
  return line.substr(from, line.find(' ', from) - from);
}

// The chain that a rule ends in, "" when it ends in none of ours.
std::string target_of(const std::string& rule) {
  for (const char* option : {" -j ", " -g "}) {
    const std::size_t at = rule.rfind(option);
    if (at == std::string::npos) continue;
    std::string target = rule.substr(at + 4);
    target = target.substr(0, target.find(' '));
    if (is_ours(target)) return target;
  }
  return {};
}

bool has_jump(const std::vector<std::string>& rules, const IptablesTable::Jump& jump) {
  return std::find(rules.begin(), rules.end(), "-A " + jump.from + " -j " + jump.to) != rules.end();
}

}  // namespace

Result<std::vector<IptablesTable>> to_iptables(const Table& inet, Family family) {
  return Writer(inet, family).write();
}

SavedTable parse_saved(const std::string& text) {
  SavedTable saved;
  std::set<std::string> begun;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.rfind(':', 0) == 0) {
      if (is_ours(chain_of(line))) saved.chains.push_back(chain_of(line));
    } else if (line.rfind("-A ", 0) == 0 && is_ours(chain_of(line))) {
      saved.rules.push_back(line);
    } else if (line.rfind("-A ", 0) == 0) {
      if (begun.insert(chain_of(line)).second) saved.first.push_back(line);
      if (!target_of(line).empty()) saved.jumps.push_back(line);
    }
  }
  return saved;
}

bool jumps_in_place(const IptablesTable& want, const SavedTable& have) {
  return have.jumps.size() == want.jumps.size() &&
         std::all_of(want.jumps.begin(), want.jumps.end(),
                     [&](const IptablesTable::Jump& jump) { return has_jump(have.first, jump); });
}

std::string to_restore(const IptablesTable& want, const SavedTable& have) {
  std::string text = "*" + want.name + "\n";
  // Declaring a chain makes it, or empties it.
  std::vector<std::string> old;
  for (const std::string& chain : have.chains) {
    if (std::find(want.chains.begin(), want.chains.end(), chain) == want.chains.end())
      old.push_back(chain);
  }
  for (const std::string& chain : want.chains) text += ":" + chain + " - [0:0]\n";
  for (const std::string& chain : old) text += ":" + chain + " - [0:0]\n";
  for (const std::string& rule : want.rules) text += rule + "\n";
  if (!jumps_in_place(want, have)) {
    for (const std::string& jump : have.jumps) text += "-D" + jump.substr(2) + "\n";
    for (const IptablesTable::Jump& jump : want.jumps)
      text += "-I " + jump.from + " 1 -j " + jump.to + "\n";
  }
  for (const std::string& chain : old) text += "-X " + chain + "\n";
  return text + "COMMIT\n";
}

}  // namespace proxyvpn::firewall
