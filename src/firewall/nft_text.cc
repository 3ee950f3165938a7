#include "firewall/nft_text.h"

#include "base/hex.h"
#include "firewall/firewall.h"

namespace proxyvpn::firewall {
namespace {

std::string key_text(const std::vector<Field>& key) {
  std::string text;
  for (const Field field : key) {
    if (!text.empty()) text += " . ";
    text += info(field).name;
  }
  return text;
}

struct StatementText {
  std::string operator()(const Compare& c) const {
    return std::string(info(c.field).name) + " " + c.text;
  }
  std::string operator()(const Lookup& l) const { return key_text(l.key) + " @" + l.set; }
  std::string operator()(const AddToSet& a) const {
    return "add @" + a.set + " { " + key_text(a.key) + " }";
  }
  std::string operator()(const SetMark& m) const {
    const std::string mark = info(m.mark).name;
    return mark + " set " + mark + " & " + hex(~m.mask, 8) + " | " + hex(m.value, 8);
  }
  std::string operator()(const Count& c) const { return "counter name \"" + c.counter + "\""; }
  std::string operator()(const Reject& r) const {
    switch (r.with) {
      case RejectWith::TcpReset:
        return "reject with tcp reset";
      case RejectWith::AdminProhibited:
        return "reject with icmpx admin-prohibited";
    }
    return {};
  }
  std::string operator()(const Verdict& v) const {
    switch (v.action) {
      case Action::Accept:
        return "accept";
      case Action::Drop:
        return "drop";
      case Action::Return:
        return "return";
      case Action::Jump:
        return "jump " + v.chain;
      case Action::Goto:
        return "goto " + v.chain;
    }
    return {};
  }
};

const char* type_name(KeyPart part) {
  switch (part) {
    case KeyPart::Ipv4:
      return "ipv4_addr";
    case KeyPart::Ipv6:
      return "ipv6_addr";
    case KeyPart::Port:
      return "inet_service";
    case KeyPart::Uid:
      return "uid";
    case KeyPart::LinkName:
      return "ifname";
  }
  return "";
}

const char* hook_name(HookPoint point) {
  switch (point) {
    case HookPoint::Prerouting:
      return "prerouting";
    case HookPoint::Input:
      return "input";
    case HookPoint::Forward:
      return "forward";
    case HookPoint::Output:
      return "output";
    case HookPoint::Postrouting:
      return "postrouting";
    case HookPoint::Egress:
      return "egress";
  }
  return "";
}

std::string set_flags(const Set& set) {
  std::string text;
  if (set.interval) text += " flags interval;";
  if (set.dynamic) {
    text += " flags dynamic,timeout; timeout " + std::to_string(set.timeout_seconds) + "s;";
    text += " size " + std::to_string(set.size) + ";";
  }
  return text;
}

std::string elements_text(const Set& set) {
  std::string text;
  for (const Element& element : set.elements) {
    if (!text.empty()) text += ", ";
    bool first = true;
    for (const Value& part : element.parts) {
      if (!first) text += " . ";
      text += part.text;
      first = false;
    }
  }
  return text;
}

void append_content(std::string& out, const Table& table, bool in_place) {
  for (const std::string& counter : table.counters)
    out += "add counter " + place(table) + " " + counter + "\n";
  for (const Set& set : table.sets) {
    out += to_nft(table, set) + "\n";
    if (in_place && !set.dynamic) out += "flush set " + place(table) + " " + set.name + "\n";
    if (!set.elements.empty())
      out += "add element " + place(table) + " " + set.name + " { " + elements_text(set) + " }\n";
  }
  for (const Chain& chain : table.chains) out += to_nft(table, chain) + "\n";
  for (const Chain& chain : table.chains) {
    for (const Rule& rule : chain.rules) out += to_nft(table, chain, rule) + "\n";
  }
}

}  // namespace

std::string place(const Table& table) {
  return std::string(to_string(table.family)) + " " + table.name;
}

const char* to_string(TableFamily family) noexcept {
  switch (family) {
    case TableFamily::Inet:
      return "inet";
    case TableFamily::Arp:
      return "arp";
    case TableFamily::Netdev:
      return "netdev";
    case TableFamily::Ip:
      return "ip";
    case TableFamily::Ip6:
      return "ip6";
  }
  return "";
}

std::string to_nft(const Table& table, const Set& set) {
  std::string key;
  for (const KeyPart part : set.key) {
    if (!key.empty()) key += " . ";
    key += type_name(part);
  }
  return "add set " + place(table) + " " + set.name + " { type " + key + ";" + set_flags(set) +
         " }";
}

std::string to_nft(const Table& table, const Chain& chain) {
  std::string text = "add chain " + place(table) + " " + chain.name;
  for (const Hook& hook : chain.hook) {
    text += " { type ";
    text += hook.type == ChainType::Route ? "route" : "filter";
    text += " hook ";
    text += hook_name(hook.point);
    if (hook.point == HookPoint::Egress) text += " device \"" + hook.device + "\"";
    text += " priority " + std::to_string(hook.priority) + ";";
    text += hook.drop ? " policy drop; }" : " policy accept; }";
  }
  return text;
}

std::string to_nft(const Table& table, const Chain& chain, const Rule& rule) {
  std::string text = "add rule " + place(table) + " " + chain.name;
  for (const Statement& statement : rule.statements)
    text += " " + std::visit(StatementText{}, statement);
  return text;
}

std::string to_nft(const Table& table, Replace replace) {
  std::string out;
  const std::string where = place(table) + "\n";
  switch (replace) {
    case Replace::Whole:
      out = "add table " + where + "delete table " + where + "add table " + where;
      break;
    case Replace::Present:
      out = "delete table " + where + "add table " + where;
      break;
    case Replace::Absent:
      out = "add table " + where;
      break;
    case Replace::InPlace:
      out = "flush table " + where;
      break;
  }
  append_content(out, table, replace == Replace::InPlace);
  return out;
}

std::string to_nft(const Ruleset& ruleset, Replace replace) {
  std::string out;
  for (const Table& table : ruleset.tables) out += to_nft(table, replace);
  return out;
}

std::string to_nft(const Policy& policy) { return to_nft(build_ruleset(policy), Replace::Whole); }

}  // namespace proxyvpn::firewall
