#pragma once
// The packet filter's rules as values: small enough to read, whole enough that every back end
// (netlink, `nft`, iptables) is made from the same ones. Names are those of nft(8).
#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "firewall/field.h"
#include "firewall/policy.h"

namespace proxyvpn::firewall {

// A constant as the kernel compares it and as a person reads it.
struct Value {
  std::vector<std::uint8_t> bytes;  // network order for packet fields, host order for meta and ct
  std::string text;                 // in nft syntax
  friend bool operator==(const Value&, const Value&) = default;
};

struct Compare {
  Field field = Field::L4Proto;
  bool negate = false;              // true: the (masked) field must differ from the value
  std::vector<std::uint8_t> mask;   // empty: all bits
  std::vector<std::uint8_t> bytes;  // compared after the mask
  std::string text;                 // what follows the field's name in nft syntax
  friend bool operator==(const Compare&, const Compare&) = default;
};

struct Lookup {
  std::vector<Field> key;  // more than one: a concatenation
  std::string set;
  friend bool operator==(const Lookup&, const Lookup&) = default;
};

// Adds the packet's key to a dynamic set. A full set ends the rule here, nothing else.
struct AddToSet {
  std::vector<Field> key;
  std::string set;
  friend bool operator==(const AddToSet&, const AddToSet&) = default;
};

// mark = (mark & ~mask) | value, of the packet (Field::PacketMark) or the connection
// (Field::ConnectionMark).
struct SetMark {
  Field mark = Field::PacketMark;
  std::uint32_t mask = 0;
  std::uint32_t value = 0;
  friend bool operator==(const SetMark&, const SetMark&) = default;
};

struct Count {
  std::string counter;  // named counter of the same table
  friend bool operator==(const Count&, const Count&) = default;
};

enum class RejectWith : std::uint8_t { TcpReset, AdminProhibited };
struct Reject {
  RejectWith with = RejectWith::AdminProhibited;
  friend bool operator==(const Reject&, const Reject&) = default;
};

enum class Action : std::uint8_t { Accept, Drop, Return, Jump, Goto };
struct Verdict {
  Action action = Action::Accept;
  std::string chain;  // Jump and Goto
  friend bool operator==(const Verdict&, const Verdict&) = default;
};

using Statement = std::variant<Compare, Lookup, AddToSet, SetMark, Count, Reject, Verdict>;

struct Rule {
  std::vector<Statement> statements;
  friend bool operator==(const Rule&, const Rule&) = default;
};

enum class ChainType : std::uint8_t { Filter, Route };
enum class HookPoint : std::uint8_t { Prerouting, Input, Forward, Output, Postrouting, Egress };

struct Hook {
  ChainType type = ChainType::Filter;
  HookPoint point = HookPoint::Output;
  int priority = 0;
  bool drop = false;   // policy: true drop, false accept
  std::string device;  // Egress only
  friend bool operator==(const Hook&, const Hook&) = default;
};

struct Chain {
  std::string name;
  std::vector<Hook> hook;  // none: a regular chain; one: a base chain
  std::vector<Rule> rules;
  friend bool operator==(const Chain&, const Chain&) = default;
};

enum class KeyPart : std::uint8_t { Ipv4, Ipv6, Port, Uid, LinkName };

struct Element {
  std::vector<Value> parts;  // one per part of the key
  unsigned prefix = 0;       // interval sets: length of the network's prefix
  friend bool operator==(const Element&, const Element&) = default;
};

struct Set {
  std::string name;
  std::vector<KeyPart> key;
  bool interval = false;
  bool dynamic = false;               // filled by packets (AddToSet), with `timeout_seconds`
  std::uint32_t timeout_seconds = 0;  // dynamic sets
  std::uint32_t size = 0;             // 0: no limit
  std::vector<Element> elements;
  friend bool operator==(const Set&, const Set&) = default;
};

// Counters are named with this before Counter::reason.
inline constexpr char kCounterPrefix[] = "refused-";

struct Table {
  TableFamily family = TableFamily::Inet;
  std::string name;
  std::vector<std::string> counters;
  std::vector<Set> sets;
  std::vector<Chain> chains;  // a chain comes before those that jump to it
  friend bool operator==(const Table&, const Table&) = default;
};

// Of the tables that a ruleset may have.
inline constexpr std::array kTableFamilies{TableFamily::Inet, TableFamily::Arp,
                                           TableFamily::Netdev};

struct Ruleset {
  std::vector<Table> tables;
  bool vanishes = false;  // goes with its owner's socket instead of outliving it (Mode::Open)
  friend bool operator==(const Ruleset&, const Ruleset&) = default;
};

// Code::InvalidArgument, naming the value, when a policy cannot be made into rules: a name that a
// link or table cannot have, marks outside their mask or not distinct, mixed families in a flow.
Result<> check(const Policy& policy);

// Pure. `policy` has passed check(). Networks inside other networks of the same list, and
// duplicates, are left out, as the kernel's interval sets take neither.
Ruleset build_ruleset(const Policy& policy);

// The table of this family, nullptr when there is none. Lives as long as `ruleset`.
const Table* find_table(const Ruleset& ruleset, TableFamily family) noexcept;

}  // namespace proxyvpn::firewall
