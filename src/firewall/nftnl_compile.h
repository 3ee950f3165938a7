#pragma once
// A Ruleset's parts as nf_tables messages: the same expressions that nft(8) makes of the text.
#include <linux/netfilter/nf_tables.h>

#include <cstdint>
#include <string>
#include <vector>

#include "firewall/netfilter_socket.h"
#include "firewall/ruleset.h"

namespace proxyvpn::firewall {

inline constexpr std::uint32_t kWord = 4;  // bytes of a 32 bit register

// Flags of a table.
inline constexpr std::uint32_t kOwner = NFT_TABLE_F_OWNER;
inline constexpr std::uint32_t kPersist =
    0x4;  // NFT_TABLE_F_PERSIST, Linux 6.9; not in older headers

int netfilter_family(TableFamily family) noexcept;  // NFPROTO_*

// Each appends messages to `batch`.
void add_table(Batch& batch, const Table& table, std::uint32_t flags);
void delete_table(Batch& batch, TableFamily family, const std::string& name);
void flush_rules(Batch& batch, const Table& table);
void flush_set(Batch& batch, const Table& table, const Set& set);
// Counters, sets, elements, chains and rules, in this order. `present`: the counters, sets and
// chains are there already, only elements and rules are added.
void add_content(Batch& batch, const Table& table, bool present);

// What a counter, set or chain is apart from its content, one line each; the same for what was
// asked for and for what the kernel has (nftnl_state.h).
std::string signature(const std::string& counter);
std::string signature(const Set& set);
std::string signature(TableFamily family, const Chain& chain);
// All of them, sorted.
std::vector<std::string> structure(const Table& table);

}  // namespace proxyvpn::firewall
