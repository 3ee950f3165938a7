#pragma once
// What a diagnosis wants to know of the packet filter, without an instance of ours. Needs effective
// CAP_NET_ADMIN in the network namespace of the caller; each call waits some seconds at most.
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace proxyvpn::firewall {

// How the kernel keeps other programs away from a table.
enum class TableGuard : std::uint8_t {
  None,
  Owner,         // Linux 5.12: nobody else may change it, and it goes with its owner
  OwnerPersist,  // Linux 6.9: and it stays when its owner dies
};
// Tries it with an empty table, which is taken away again: for a namespace of the caller's own.
Result<TableGuard> probe_table_guard();

// A rule of another program's that writes packet or connection marks.
struct MarkingRule {
  std::string place;        // "inet mangle output": family, table, chain
  bool connection = false;  // ct mark
  std::uint32_t bits = 0;   // that it may change
  friend bool operator==(const MarkingRule&, const MarkingRule&) = default;
};
// Those of every nf_tables table but `own`, iptables-nft's MARK and CONNMARK targets included; at
// most 256. What nf_tables does not know (iptables-legacy, eBPF, tc) is not seen.
Result<std::vector<MarkingRule>> read_marking_rules(const std::string& own);

// The table of ours as the kernel has it.
struct TableState {
  bool present = false;
  bool owned = false;  // by a live process
  std::size_t chains_with_hook = 0;
  std::size_t rules = 0;
};
Result<TableState> read_table_state(const std::string& name);

}  // namespace proxyvpn::firewall
