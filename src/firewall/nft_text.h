#pragma once
// A Ruleset as text for `nft -f -` (nft(8)), in flat form: one command per line.
#include <string>

#include "firewall/ruleset.h"

namespace proxyvpn::firewall {

enum class Replace : std::uint8_t {
  Whole,    // add, delete, add: right whether the tables are there or not
  Present,  // delete, add: they are there (`add` alone fails on an orphan of an owner)
  Absent,   // add only
  InPlace,  // they are there and differ in rules and elements only: counters and seen flows stay
};

std::string to_nft(const Ruleset& ruleset, Replace replace);
std::string to_nft(const Table& table, Replace replace);

// "add rule inet proxyvpn out goto refuse": for error messages and single lines.
std::string to_nft(const Table& table, const Chain& chain, const Rule& rule);
std::string to_nft(const Table& table, const Set& set);
std::string to_nft(const Table& table, const Chain& chain);

// "inet", "arp", "netdev"
const char* to_string(TableFamily family) noexcept;
// "inet proxyvpn"
std::string place(const Table& table);

}  // namespace proxyvpn::firewall
