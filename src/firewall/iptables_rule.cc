#include "firewall/iptables_rule.h"

#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/hex.h"
#include "base/ip.h"
#include "firewall/iptables_text.h"

namespace proxyvpn::firewall {
namespace {

std::uint32_t host_number(const std::vector<std::uint8_t>& bytes) {
  std::uint32_t number = 0;
  std::memcpy(&number, bytes.data(), std::min(bytes.size(), sizeof number));
  return number;
}

// One alternative of a rule: options, and the protocol that they all agree on.
struct Options {
  std::uint8_t protocol = 0;
  std::string text;

  // "-p" once and in front of what needs it.
  bool require(std::uint8_t wanted) {
    if (protocol != 0) return protocol == wanted;
    protocol = wanted;
    text += " -p " + ip_protocol_name(wanted);
    return true;
  }
};

const char* address_type(std::uint32_t type) {
  switch (type) {
    case RTN_LOCAL:
      return "LOCAL";
    case RTN_BROADCAST:
      return "BROADCAST";
    case RTN_MULTICAST:
      return "MULTICAST";
    default:
      return nullptr;
  }
}

// What comes before a field's value where that is all there is to it; nullptr for the others.
const char* simple_option(Field field) {
  switch (field) {
    case Field::Ip4Source:
    case Field::Ip6Source:
      return " -s ";
    case Field::Ip4Destination:
    case Field::Ip6Destination:
      return " -d ";
    case Field::Ip6HopLimit:
      return " -m hl --hl-eq ";
    case Field::TcpSource:
    case Field::UdpSource:
      return " --sport ";
    case Field::TcpDestination:
    case Field::UdpDestination:
      return " --dport ";
    case Field::Icmp6Type:
      return " -m icmp6 --icmpv6-type ";
    case Field::SocketUid:
      return " -m owner --uid-owner ";
    case Field::InLink:
    case Field::InLinkName:
      return " -i ";
    case Field::OutLink:
    case Field::OutLinkName:
      return " -o ";
    case Field::SocketCgroup:
    case Field::L4Proto:
    case Field::EtherType:
    case Field::PacketMark:
    case Field::RouteClass:
    case Field::ConnectionMark:
    case Field::ConnectionState:
    case Field::DestinationType:
    case Field::SourceType:
    case Field::TcpFlags:
    case Field::ArpSource:
    case Field::ArpDestination:
      break;
  }
  return nullptr;
}

std::string without_quotes(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '"'), text.end());
  return text;
}

// Options for a field that equals what `bytes` (and for people `text`) say. False: iptables has no
// words for it.
bool append_equal(Options& options, Field field, const std::vector<std::uint8_t>& bytes,
                  const std::vector<std::uint8_t>& mask, const std::string& text) {
  const std::uint8_t protocol = info(field).protocol;
  if (protocol != 0 && !options.require(protocol)) return false;
  if (const char* option = simple_option(field)) {
    options.text += option + without_quotes(text);
    return true;
  }
  const std::uint32_t number = host_number(bytes);
  if (field == Field::L4Proto) return options.require(bytes.front());
  if (field == Field::PacketMark || field == Field::ConnectionMark) {
    options.text += field == Field::PacketMark ? " -m mark" : " -m connmark";
    options.text += " --mark " + hex(number) + "/";
    options.text += hex(mask.empty() ? 0xffffffffU : host_number(mask));
    return true;
  }
  if (field == Field::DestinationType && address_type(number) != nullptr) {
    options.text += std::string(" -m addrtype --dst-type ") + address_type(number);
    return true;
  }
  if (field == Field::TcpFlags) {
    // The only comparison of flags that rules make (is_syn()).
    options.text += " --tcp-flags FIN,SYN,RST,ACK SYN";
    return mask == std::vector<std::uint8_t>{0x17} && bytes.front() == 0x02;
  }
  return false;
}

bool append(Options& options, const Compare& compare) {
  if (compare.field == Field::ConnectionState && compare.negate && compare.text == "new") {
    options.text += " -m conntrack --ctstate NEW";
    return true;
  }
  if (compare.field == Field::L4Proto && compare.negate) {
    options.text += " ! -p " + ip_protocol_name(compare.bytes.front());
    return true;
  }
  return !compare.negate &&
         append_equal(options, compare.field, compare.bytes, compare.mask, compare.text);
}

std::uint8_t other_icmp(Family family) {
  return family == Family::V4 ? std::uint8_t{IPPROTO_ICMPV6} : std::uint8_t{IPPROTO_ICMP};
}

// False for what can never match in packets of this family, and for what iptables does not take.
bool can_match(const Compare& compare, Family family) {
  const std::uint8_t version = info(compare.field).ip_version;
  if (version != 0) return (version == 4) == (family == Family::V4);
  if (compare.field == Field::DestinationType && family == Family::V6)
    return host_number(compare.bytes) != RTN_BROADCAST;
  if (compare.field == Field::L4Proto && !compare.negate)
    return compare.bytes.front() != other_icmp(family);
  return true;
}

bool can_match(const std::vector<Field>& key, Family family) {
  return std::all_of(key.begin(), key.end(), [family](Field field) {
    const std::uint8_t version = info(field).ip_version;
    return version == 0 || (version == 4) == (family == Family::V4);
  });
}

// Each alternative once per element of the set.
bool multiply(std::vector<Options>& alternatives, const Table& inet, const Lookup& lookup) {
  const auto set = std::find_if(inet.sets.begin(), inet.sets.end(),
                                [&](const Set& each) { return each.name == lookup.set; });
  if (set == inet.sets.end()) return false;
  std::vector<Options> product;
  for (const Options& before : alternatives) {
    for (const Element& element : set->elements) {
      Options after = before;
      for (std::size_t i = 0; i < lookup.key.size(); ++i) {
        const Value& part = element.parts.at(i);
        if (!append_equal(after, lookup.key[i], part.bytes, {}, part.text)) return false;
      }
      product.push_back(std::move(after));
    }
  }
  alternatives = std::move(product);
  return true;
}

std::string reject(RejectWith with, Family family) {
  switch (with) {
    case RejectWith::TcpReset:
      return " -j REJECT --reject-with tcp-reset";
    case RejectWith::AdminProhibited:
      return family == Family::V4 ? " -j REJECT --reject-with icmp-admin-prohibited"
                                  : " -j REJECT --reject-with icmp6-adm-prohibited";
  }
  return {};
}

Result<std::string> verdict(const Verdict& verdict) {
  switch (verdict.action) {
    // Chains of ours are gone to, not jumped to, so that leaving one leaves them all: nft's
    // "return" ends the base chain there with its policy, which is "accept" where rules use it.
    case Action::Accept:
    case Action::Return:
      return std::string(" -j RETURN");
    case Action::Drop:
      return std::string(" -j DROP");
    case Action::Goto:
      return " -g " + iptables_chain(verdict.chain);
    case Action::Jump:
      break;
  }
  return fail(Code::Unsupported, "a jump is written out, not translated");
}

struct Parts {
  bool matches = true;  // in this family
  std::vector<Options> alternatives{Options{}};
  std::string comment;
  std::vector<std::string> targets;
};

Result<> add_match(Parts& parts, const Table& inet, Family family, const Statement& statement) {
  bool ok = true;
  if (const auto* compare = std::get_if<Compare>(&statement)) {
    parts.matches = parts.matches && can_match(*compare, family);
    for (Options& options : parts.alternatives)
      ok = ok && (!parts.matches || append(options, *compare));
  } else if (const auto* lookup = std::get_if<Lookup>(&statement)) {
    parts.matches = parts.matches && can_match(lookup->key, family);
    ok = !parts.matches || multiply(parts.alternatives, inet, *lookup);
  }
  if (!ok) return fail(Code::Unsupported, "iptables has no words for a comparison of this rule");
  return {};
}

Result<> add_target(Parts& parts, Family family, const Statement& statement) {
  if (const auto* count = std::get_if<Count>(&statement)) {
    parts.comment = " -m comment --comment " + count->counter;
  } else if (std::holds_alternative<AddToSet>(statement)) {
    parts.matches = false;  // nothing to remember flows in
  } else if (const auto* mark = std::get_if<SetMark>(&statement)) {
    parts.targets.push_back((mark->mark == Field::ConnectionMark ? " -j CONNMARK" : " -j MARK") +
                            (" --set-xmark " + hex(mark->value) + "/" + hex(mark->mask)));
  } else if (const auto* with = std::get_if<Reject>(&statement)) {
    parts.targets.push_back(reject(with->with, family));
  } else if (const auto* end = std::get_if<Verdict>(&statement)) {
    auto target = verdict(*end);
    if (!target) return tl::unexpected<Error>(target.error());
    parts.targets.push_back(*target);
  }
  return {};
}

}  // namespace

std::string iptables_chain(const std::string& chain) {
  std::string name = kChainPrefix;
  for (const char c : chain) name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return name;
}

Result<std::vector<std::string>> to_iptables(const Table& inet, Family family, const Rule& rule) {
  Parts parts;
  for (const Statement& statement : rule.statements) {
    if (auto done = add_match(parts, inet, family, statement); !done)
      return tl::unexpected<Error>(done.error());
    if (auto done = add_target(parts, family, statement); !done)
      return tl::unexpected<Error>(done.error());
  }
  std::vector<std::string> lines;
  if (!parts.matches) return lines;
  for (const Options& options : parts.alternatives) {
    for (const std::string& target : parts.targets)
      lines.push_back(options.text + parts.comment + target);
  }
  return lines;
}

}  // namespace proxyvpn::firewall
