#pragma once
// What the kernel has of a table.
#include <string>
#include <vector>

#include "firewall/firewall.h"
#include "firewall/netfilter_socket.h"
#include "firewall/ruleset.h"

namespace proxyvpn::firewall {

struct KernelTable {
  bool present = false;
  std::uint32_t flags = 0;  // NFT_TABLE_F_*
  std::uint32_t owner = 0;  // netlink port id; 0: nobody's
};
Result<KernelTable> read_table(NetfilterSocket& socket, TableFamily family,
                               const std::string& name);

// signature() of everything in the table but rules and elements, sorted.
Result<std::vector<std::string>> read_structure(NetfilterSocket& socket, TableFamily family,
                                                const std::string& name);

// Number of rules per table, and a text that changes when a rule is added, removed or replaced or
// the elements of a set that packets don't fill change.
struct Content {
  std::size_t rules = 0;
  std::string fingerprint;
};
Result<Content> read_content(NetfilterSocket& socket, TableFamily family, const std::string& name);

// The counters of the inet table by reason; empty without a table.
Result<std::vector<Counter>> read_counters(NetfilterSocket& socket, const std::string& name);

}  // namespace proxyvpn::firewall
