#pragma once
// The inet table of a Ruleset as input for iptables-restore(8) and ip6tables-restore(8). Pure.
#include <string>
#include <vector>

#include "base/ip.h"
#include "firewall/ruleset.h"

namespace proxyvpn::firewall {

inline constexpr char kChainPrefix[] = "PROXYVPN_";
// An empty chain in a table that was not there before us: nothing else tells remove(), perhaps in
// another process, that the table itself is ours to remove.
inline constexpr char kMadeHere[] = "PROXYVPN_MADE_HERE";

// One of the kernel's tables, with our part of it.
struct IptablesTable {
  std::string name;  // "mangle" or "filter"
  struct Jump {
    std::string from;  // "OUTPUT"
    std::string to;    // "PROXYVPN_OUT"
  };
  std::vector<Jump> jumps;
  std::vector<std::string> chains;  // in the order of their first rule
  std::vector<std::string> rules;   // "-A PROXYVPN_OUT ..."
};

// Sets become one rule per element, dynamic sets nothing. "Accept" leaves our chains and lets the
// rules behind the jump decide, as in nft, where it ends one base chain only; `allowed` is written
// out where it is jumped to, so that leaving it leaves all. mangle comes before filter.
// Code::Unsupported for a rule that iptables has no words for.
Result<std::vector<IptablesTable>> to_iptables(const Table& inet, Family family);

// What iptables-save(8) says about one table.
struct SavedTable {
  std::vector<std::string> chains;  // ours alone
  std::vector<std::string> jumps;   // whole rules "-A OUTPUT ... -j PROXYVPN_OUT"
  std::vector<std::string> rules;   // of our chains
  std::vector<std::string> first;   // the first rule of each chain that isn't ours
};
SavedTable parse_saved(const std::string& text);

// Input for `iptables-restore --noflush` that leaves exactly `want` of ours, whatever was there.
std::string to_restore(const IptablesTable& want, const SavedTable& have);

// True when every jump is the first rule of its chain and there once.
bool jumps_in_place(const IptablesTable& want, const SavedTable& have);

}  // namespace proxyvpn::firewall
