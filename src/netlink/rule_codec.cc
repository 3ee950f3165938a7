#include "netlink/rule_codec.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include "base/hex.h"
#include "netlink/names.h"

namespace proxyvpn::netlink {
namespace {

using RuleAttributes = Attributes<FRA_MAX>;

constexpr std::uint32_t kUnset = 0xffffffff;  // suppress_*: -1

const fib_rule_hdr* rule_header(const nlmsghdr* message) {
  return header_of<fib_rule_hdr>(message);
}

RuleAttributes attributes_of(const nlmsghdr* message) { return {message, sizeof(fib_rule_hdr)}; }

// The words of rtnetlink(7) for what a rule does when it is none of lookup, goto and nop.
std::string action_name(std::uint8_t action) {
  switch (action) {
    case FR_ACT_BLACKHOLE:
      return "blackhole";
    case FR_ACT_UNREACHABLE:
      return "unreachable";
    case FR_ACT_PROHIBIT:
      return "prohibit";
    default:
      return "action " + std::to_string(action);
  }
}

std::string selector_text(const std::optional<IpAddress>& address, unsigned length) {
  if (!address) return length == 0 ? std::string("all") : "0/" + std::to_string(length);
  return length == address->bits() ? to_string(*address)
                                   : to_string(*address) + "/" + std::to_string(length);
}

template <class Range>
std::string range_text(const Range& range) {
  return range.start == range.end ? std::to_string(range.start)
                                  : std::to_string(range.start) + "-" + std::to_string(range.end);
}

// What the rule looks at, each with a space behind it.
std::string selectors(const fib_rule_hdr& header, const RuleAttributes& attributes) {
  const int family = header.family;
  std::string text = "from " + selector_text(attributes.address(FRA_SRC, family), header.src_len);
  if (attributes.get(FRA_DST) != nullptr || header.dst_len != 0)
    text += " to " + selector_text(attributes.address(FRA_DST, family), header.dst_len);
  if (header.tos != 0) text += " tos " + hex(header.tos);
  const auto mark = attributes.u32(FRA_FWMARK);
  const auto mask = attributes.u32(FRA_FWMASK);
  if (mark || mask) text += " fwmark " + to_string(Mark{mark.value_or(0), mask.value_or(kUnset)});
  if (attributes.get(FRA_IIFNAME) != nullptr) {
    text += " iif " + attributes.text(FRA_IIFNAME);
    if ((header.flags & FIB_RULE_IIF_DETACHED) != 0) text += " [detached]";
  }
  if (attributes.get(FRA_OIFNAME) != nullptr) {
    text += " oif " + attributes.text(FRA_OIFNAME);
    if ((header.flags & FIB_RULE_OIF_DETACHED) != 0) text += " [detached]";
  }
  if (attributes.u8(FRA_L3MDEV).value_or(0) != 0) text += " lookup [l3mdev-table]";
  if (const auto users = attributes.value<fib_rule_uid_range>(FRA_UID_RANGE))
    text += " uidrange " + std::to_string(users->start) + "-" + std::to_string(users->end);
  if (const auto protocol = attributes.u8(FRA_IP_PROTO))
    text += " ipproto " + ip_protocol_name(*protocol);
  if (const auto ports = attributes.value<fib_rule_port_range>(FRA_SPORT_RANGE))
    text += " sport " + range_text(*ports);
  if (const auto ports = attributes.value<fib_rule_port_range>(FRA_DPORT_RANGE))
    text += " dport " + range_text(*ports);
  if (const auto tunnel = attributes.value<std::uint64_t>(FRA_TUN_ID))
    text += " tun_id " + std::to_string(__builtin_bswap64(*tunnel));
  return text + " ";
}

std::string action_text(const fib_rule_hdr& header, const RuleAttributes& attributes) {
  const std::uint32_t table = attributes.u32(FRA_TABLE).value_or(header.table);
  std::string text;
  if (table != 0) {
    text += "lookup " + table_name(table) + " ";
    const std::uint32_t prefix = attributes.u32(FRA_SUPPRESS_PREFIXLEN).value_or(kUnset);
    const std::uint32_t group = attributes.u32(FRA_SUPPRESS_IFGROUP).value_or(kUnset);
    if (prefix != kUnset) text += "suppress_prefixlength " + std::to_string(prefix) + " ";
    if (group != kUnset) text += "suppress_ifgroup " + std::to_string(group) + " ";
  }
  if (const auto realm = attributes.u32(FRA_FLOW)) {
    text += "realms ";
    if ((*realm >> 16) != 0) text += std::to_string(*realm >> 16) + "/";
    text += std::to_string(*realm & 0xffff) + " ";
  }
  if (header.action == FR_ACT_GOTO) {
    const std::uint32_t target = attributes.u32(FRA_GOTO).value_or(0);
    text += "goto " + (target == 0 ? std::string("none") : std::to_string(target)) + " ";
    if ((header.flags & FIB_RULE_UNRESOLVED) != 0) text += "[unresolved] ";
  } else if (header.action == FR_ACT_NOP) {
    text += "nop ";
  } else if (header.action != FR_ACT_TO_TBL) {
    text += action_name(header.action) + " ";
  }
  return text;
}

bool only_by_mark(const fib_rule_hdr& header, const RuleAttributes& attributes) {
  if (header.src_len != 0 || header.dst_len != 0 || header.tos != 0) return false;
  for (const int selector : {FRA_IIFNAME, FRA_OIFNAME, FRA_UID_RANGE, FRA_IP_PROTO, FRA_SPORT_RANGE,
                             FRA_DPORT_RANGE, FRA_TUN_ID, FRA_FLOW})
    if (attributes.get(selector) != nullptr) return false;
  return attributes.u8(FRA_L3MDEV).value_or(0) == 0 &&
         attributes.u32(FRA_SUPPRESS_PREFIXLEN).value_or(kUnset) == kUnset &&
         attributes.u32(FRA_SUPPRESS_IFGROUP).value_or(kUnset) == kUnset;
}

}  // namespace

Message rule_message(const PolicyRule& rule, int type, int flags) {
  fib_rule_hdr header{};
  header.family = rule.family == Family::V6 ? AF_INET6 : AF_INET;
  header.flags = rule.invert ? FIB_RULE_INVERT : 0;
  switch (rule.action) {
    case RuleAction::Lookup:
      header.action = FR_ACT_TO_TBL;
      break;
    case RuleAction::Unreachable:
      header.action = FR_ACT_UNREACHABLE;
      break;
  }
  Message message(type, flags);
  message.header(header)
      .put_u32(FRA_PRIORITY, rule.priority)
      .put_u32(FRA_FWMARK, rule.mark.value)
      .put_u32(FRA_FWMASK, rule.mark.mask)
      .put_u8(FRA_PROTOCOL, kProtocolId);
  if (rule.action == RuleAction::Lookup) message.put_u32(FRA_TABLE, rule.table);
  return message;
}

Message rule_listing(Family family) {
  fib_rule_hdr header{};
  header.family = family == Family::V6 ? AF_INET6 : AF_INET;
  Message message(RTM_GETRULE, 0);
  message.header(header);
  return message;
}

std::uint8_t rule_protocol(const nlmsghdr* message) {
  if (rule_header(message) == nullptr) return 0;
  return attributes_of(message).u8(FRA_PROTOCOL).value_or(0);
}

std::optional<PolicyRule> parse_rule(const nlmsghdr* message) {
  const fib_rule_hdr* header = rule_header(message);
  if (header == nullptr) return {};
  const RuleAttributes attributes = attributes_of(message);
  if (!only_by_mark(*header, attributes)) return {};
  PolicyRule rule;
  if (header->family != AF_INET && header->family != AF_INET6) return {};
  rule.family = header->family == AF_INET6 ? Family::V6 : Family::V4;
  rule.priority = attributes.u32(FRA_PRIORITY).value_or(0);
  rule.invert = (header->flags & FIB_RULE_INVERT) != 0;
  rule.mark.value = attributes.u32(FRA_FWMARK).value_or(0);
  rule.mark.mask = attributes.u32(FRA_FWMASK).value_or(0);
  if (header->action == FR_ACT_TO_TBL) {
    rule.action = RuleAction::Lookup;
    rule.table = attributes.u32(FRA_TABLE).value_or(header->table);
  } else if (header->action == FR_ACT_UNREACHABLE) {
    rule.action = RuleAction::Unreachable;
  } else {
    return {};
  }
  return rule;
}

std::string rule_text(const nlmsghdr* message) {
  const fib_rule_hdr* header = rule_header(message);
  if (header == nullptr) return {};
  const RuleAttributes attributes = attributes_of(message);
  std::string text = std::to_string(attributes.u32(FRA_PRIORITY).value_or(0)) + ": ";
  if ((header->flags & FIB_RULE_INVERT) != 0) text += "not ";
  text += selectors(*header, attributes);
  text += action_text(*header, attributes);
  const std::uint8_t protocol = attributes.u8(FRA_PROTOCOL).value_or(RTPROT_UNSPEC);
  if (protocol != RTPROT_UNSPEC && protocol != RTPROT_KERNEL)
    text += "proto " + protocol_name(protocol) + " ";
  text.pop_back();  // the space behind the last word
  return text;
}

}  // namespace proxyvpn::netlink
