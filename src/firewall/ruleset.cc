#include "firewall/ruleset.h"

#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

#include "firewall/egress_guard.h"
#include "firewall/match.h"
#include "firewall/set_elements.h"

namespace proxyvpn::firewall {
namespace {

constexpr std::array kFamilies{Family::V4, Family::V6};
constexpr std::uint16_t kDns = 53;
// Hook priorities of nft(8): conntrack is -200, so connection marks are there; 300 is behind
// everything that others usually hang in.
constexpr int kMangle = -150;
constexpr int kFilter = 0;
constexpr int kLast = 300;
// Connections that came in from outside, remembered beside conntrack so that `conntrack -F` or a
// table overrun does not cut them. Bounded: a flood of SYNs only makes the memory useless.
constexpr std::uint32_t kSeenSize = 16384;
constexpr std::uint32_t kSeenSeconds = 24 * 60 * 60;

// nft takes no keyword ("tcp") as a name.
Count refusal(const char* reason) { return {kCounterPrefix + std::string(reason)}; }

Field source(Family family) { return family == Family::V4 ? Field::Ip4Source : Field::Ip6Source; }
Field destination(Family family) {
  return family == Family::V4 ? Field::Ip4Destination : Field::Ip6Destination;
}
Lookup to_set(Family family, const char* set) {
  return in_set(destination(family), per_family(set, family));
}
// A packet of a flow in `set`, whose keys are local address, local port, remote address, port.
Lookup outgoing_flow(Family family, const char* set) {
  return in_set({source(family), Field::TcpSource, destination(family), Field::TcpDestination},
                per_family(set, family));
}
std::vector<Field> incoming_key(Family family) {
  return {destination(family), Field::TcpDestination, source(family), Field::TcpSource};
}
Compare has_connection_mark(const Marks& marks, std::uint32_t value) {
  return is_mark(Field::ConnectionMark, marks.mask, value);
}
SetMark set_connection_mark(const Marks& marks, std::uint32_t value) {
  return {Field::ConnectionMark, marks.mask, value};
}

std::vector<std::string> counter_names() {
  std::vector<std::string> names;
  for (const char* reason : {"dns", "udp", "icmp", "tcp", "forward", "spoofed-tun", "other"})
    names.push_back(refusal(reason).counter);
  return names;
}

// A connection that came in from outside: remember it, and let it answer.
Chain inbound_chain(const Marks& marks) {
  Chain chain{"inbound", {}, {}};
  for (const Family family : kFamilies)
    chain.rules.push_back(rule(AddToSet{incoming_key(family), per_family("seen", family)}));
  chain.rules.push_back(rule(set_connection_mark(marks, marks.inbound), accept()));
  return chain;
}

// The TUN has no IPv6 (--tun-cidr6 none): a marked packet would find no route there and vanish, and
// its application would hang. Unmarked it is refused at once. Without a killswitch nothing refuses;
// there it keeps its mark.
bool refuses_ipv6(const Policy& policy) {
  const auto& addresses = policy.tun_addresses;
  return policy.mode == Mode::Guarded && !addresses.empty() &&
         std::all_of(addresses.begin(), addresses.end(),
                     [](const IpAddress& address) { return address.is_v4(); });
}

// TCP that goes out: into the TUN, but for what goes direct.
Chain capture_chain(const Policy& policy) {
  Chain chain{"capture", {}, {}};
  if (policy.mode == Mode::Shut) return chain;
  for (const Family family : kFamilies)
    chain.rules.push_back(rule(to_set(family, "direct"), accept()));
  for (const Family family : kFamilies) {
    chain.rules.push_back(
        rule(is_port(Field::TcpDestination, kDns), to_set(family, "dns"), accept()));
  }
  if (refuses_ipv6(policy)) {
    constexpr std::array<std::uint8_t, 16> any{};
    chain.rules.push_back(rule(is_within(Field::Ip6Destination, {IpAddress::v6(any), 0}), leave()));
  }
  chain.rules.push_back(rule(set_connection_mark(policy.marks, policy.marks.capture),
                             SetMark{Field::PacketMark, policy.marks.mask, policy.marks.capture}));
  return chain;
}

// What comes in on a link, for us or to be forwarded.
Chain prerouting_chain(const Policy& policy) {
  const Marks& marks = policy.marks;
  Chain chain{"pre", {{ChainType::Filter, HookPoint::Prerouting, kMangle, false, {}}}, {}};
  auto& rules = chain.rules;
  rules.push_back(rule(is_link(Field::InLinkName, policy.tun_name), accept()));
  rules.push_back(rule(is_loopback(Field::InLink), accept()));
  // Nobody outside may find out about the TUN's address (CVE-2019-14899).
  for (const Family family : kFamilies)
    rules.push_back(rule(to_set(family, "tun"), refusal("spoofed-tun"), drop()));
  rules.push_back(rule(is_not_protocol(IPPROTO_TCP), accept()));
  for (const char* flows : {"keep", "seen"}) {
    for (const Family family : kFamilies) {
      rules.push_back(rule(in_set(incoming_key(family), per_family(flows, family)),
                           set_connection_mark(marks, marks.inbound), accept()));
    }
  }
  rules.push_back(rule(has_connection_mark(marks, marks.bypass), accept()));
  rules.push_back(rule(has_connection_mark(marks, marks.inbound), accept()));
  // Before the destination is translated, so that published ports of containers are local here.
  rules.push_back(rule(is_address_type(Field::DestinationType, RTN_LOCAL), is_new(), is_syn(),
                       go_to("inbound")));
  for (const Family family : kFamilies)
    rules.push_back(rule(to_set(family, "inside"), is_new(), is_syn(), go_to("inbound")));
  for (const unsigned type : {RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST})
    rules.push_back(rule(is_address_type(Field::DestinationType, type), accept()));
  rules.push_back(rule(go_to("capture")));
  return chain;
}

bool has_direct_programs(const Policy& policy) {
  return policy.direct_cgroup.has_value() && policy.mode != Mode::Shut;
}

// What this machine sends. Type route: a changed mark looks the route up again.
Chain marking_chain(const Policy& policy) {
  const Marks& marks = policy.marks;
  Chain chain{"mark_out", {{ChainType::Route, HookPoint::Output, kMangle, false, {}}}, {}};
  auto& rules = chain.rules;
  rules.push_back(rule(is_loopback(Field::OutLink), accept()));
  rules.push_back(rule(in_set(Field::OutLinkName, "inside"), accept()));
  // The connection's mark carries it to `post`, where no rule can see the socket's group.
  if (has_direct_programs(policy)) {
    rules.push_back(rule(is_in_cgroup(*policy.direct_cgroup),
                         set_connection_mark(marks, marks.bypass), accept()));
  }
  rules.push_back(rule(is_not_protocol(IPPROTO_TCP), accept()));
  for (const char* flows : {"keep", "seen"}) {
    for (const Family family : kFamilies) {
      rules.push_back(
          rule(outgoing_flow(family, flows), set_connection_mark(marks, marks.inbound), accept()));
    }
  }
  rules.push_back(rule(has_connection_mark(marks, marks.bypass), accept()));
  rules.push_back(rule(has_connection_mark(marks, marks.inbound), accept()));
  for (const Family family : kFamilies) {
    rules.push_back(
        rule(is_mark(Field::PacketMark, marks.mask, marks.bypass), is_uid(policy.daemon_uid),
             in_set({destination(family), Field::TcpDestination}, per_family("proxy", family)),
             set_connection_mark(marks, marks.bypass), accept()));
  }
  rules.push_back(
      rule(in_set(Field::SocketUid, "exempt"), set_connection_mark(marks, marks.bypass), accept()));
  rules.push_back(rule(go_to("capture")));
  return chain;
}

// Captured packets that found no TUN were routed to this machine itself (the barrier route): the
// connection is reset, and no service of this machine ever sees it. Before that they would be
// dropped in silence where the mark sends them to another route, as TCP takes an error of its own
// route for a loss.
Chain barrier_chain(const Policy& policy) {
  Chain chain{"in", {{ChainType::Filter, HookPoint::Input, kFilter, false, {}}}, {}};
  // Empty, but there, as every chain is in each of the shut modes: a table of the same shape is
  // changed in place and keeps what it has counted and seen.
  if (policy.mode == Mode::Shut) return chain;
  // What comes out of the TUN is ours, whatever mark other programs restore on it.
  chain.rules.push_back(rule(is_link(Field::InLinkName, policy.tun_name), leave()));
  chain.rules.push_back(rule(is_mark(Field::PacketMark, policy.marks.mask, policy.marks.capture),
                             is_protocol(IPPROTO_TCP), refusal("tcp"),
                             Reject{RejectWith::TcpReset}));
  return chain;
}

void append_dns(std::vector<Rule>& rules) {
  for (const Field port : {Field::TcpDestination, Field::UdpDestination}) {
    for (const Family family : kFamilies)
      rules.push_back(rule(is_port(port, kDns), to_set(family, "dns"), accept()));
  }
  // Before any permission for a network: a LAN that is allowed is not a resolver that is.
  for (const Field port : {Field::TcpDestination, Field::UdpDestination})
    rules.push_back(rule(is_port(port, kDns), leave()));
}

// What may leave without the TUN. Returns for everything else.
Chain allowed_chain(const Policy& policy) {
  const Marks& marks = policy.marks;
  Chain chain{"allowed", {}, {}};
  auto& rules = chain.rules;
  rules.push_back(rule(is_loopback(Field::OutLink), accept()));
  rules.push_back(rule(in_set(Field::OutLinkName, "inside"), accept()));
  for (const std::uint32_t mark : {marks.bypass, marks.inbound})
    rules.push_back(rule(is_protocol(IPPROTO_TCP), has_connection_mark(marks, mark), accept()));
  // Of other protocols than TCP only those programs' connections carry this mark.
  if (has_direct_programs(policy)) {
    rules.push_back(rule(has_connection_mark(marks, marks.bypass), accept()));
  }
  append_dns(rules);
  append_housekeeping(rules);
  for (const Family family : kFamilies) rules.push_back(rule(to_set(family, "direct"), accept()));
  return chain;
}

struct Refused {
  Rule match;
  RejectWith with = RejectWith::AdminProhibited;
};

std::vector<Refused> reasons() {
  using enum RejectWith;
  return {
      {rule(is_port(Field::TcpDestination, kDns), refusal("dns")), TcpReset},
      {rule(is_port(Field::UdpDestination, kDns), refusal("dns")), AdminProhibited},
      {rule(is_protocol(IPPROTO_TCP), refusal("tcp")), TcpReset},
      {rule(is_protocol(IPPROTO_UDP), refusal("udp")), AdminProhibited},
      {rule(is_protocol(IPPROTO_ICMP), refusal("icmp")), AdminProhibited},
      {rule(is_protocol(IPPROTO_ICMPV6), refusal("icmp")), AdminProhibited},
      {rule(refusal("other")), AdminProhibited},
  };
}

// Refused with an answer, so that a program fails at once; reject is not legal in postrouting,
// where `discard` counts the same.
void append_refusal(std::vector<Chain>& chains) {
  Chain refuse{"refuse", {}, {}};
  Chain discard{"discard", {}, {}};
  for (Refused& reason : reasons()) {
    Rule quiet = reason.match;
    quiet.statements.emplace_back(drop());
    discard.rules.push_back(std::move(quiet));
    reason.match.statements.emplace_back(Reject{reason.with});
    refuse.rules.push_back(std::move(reason.match));
  }
  Chain forwarded{"refuse_forward", {}, {}};
  forwarded.rules.push_back(
      rule(is_protocol(IPPROTO_TCP), refusal("forward"), Reject{RejectWith::TcpReset}));
  forwarded.rules.push_back(rule(refusal("forward"), Reject{RejectWith::AdminProhibited}));
  chains.push_back(std::move(refuse));
  chains.push_back(std::move(forwarded));
  chains.push_back(std::move(discard));
}

// The guarantee. In `out` the device is the one from before the mark changed the route, so only
// `post` may trust it; `out` and `forw` are there to answer at once.
void append_killswitch(const Policy& policy, std::vector<Chain>& chains) {
  const Compare captured = is_mark(Field::PacketMark, policy.marks.mask, policy.marks.capture);
  const Compare to_tun = is_link(Field::OutLinkName, policy.tun_name);
  const bool tunnel = policy.mode == Mode::Guarded;
  Chain out{"out", {{ChainType::Filter, HookPoint::Output, kFilter, true, {}}}, {}};
  if (tunnel) out.rules.push_back(rule(captured, is_protocol(IPPROTO_TCP), accept()));
  out.rules.push_back(rule(jump("allowed")));
  out.rules.push_back(rule(go_to("refuse")));

  Chain forward{"forw", {{ChainType::Filter, HookPoint::Forward, kFilter, true, {}}}, {}};
  if (tunnel) forward.rules.push_back(rule(captured, is_protocol(IPPROTO_TCP), to_tun, accept()));
  // Between bridges of this machine anything goes; from outside only what was asked for from inside
  // (a forged DNS answer is not), and TCP, which is told apart by its connection mark.
  forward.rules.push_back(
      rule(in_set(Field::InLinkName, "inside"), in_set(Field::OutLinkName, "inside"), accept()));
  forward.rules.push_back(rule(in_set(Field::OutLinkName, "inside"), is_not_protocol(IPPROTO_TCP),
                               is_new(), refusal("forward"), drop()));
  forward.rules.push_back(rule(jump("allowed")));
  forward.rules.push_back(rule(go_to("refuse_forward")));

  Chain post{"post", {{ChainType::Filter, HookPoint::Postrouting, kLast, true, {}}}, {}};
  if (tunnel) post.rules.push_back(rule(to_tun, captured, is_protocol(IPPROTO_TCP), accept()));
  // The kernel's own multicast housekeeping on the TUN is nobody's refused traffic: not counted.
  post.rules.push_back(
      rule(to_tun, is_within(Field::Ip6Destination, link_local_multicast()), drop()));
  post.rules.push_back(rule(to_tun, go_to("discard")));
  if (guards_egress(policy)) {
    post.rules.push_back(rule(is_loopback(Field::OutLink), accept()));
    post.rules.push_back(rule(mark_as_passed(policy.marks)));
  }
  post.rules.push_back(rule(jump("allowed")));
  post.rules.push_back(rule(go_to("discard")));
  for (Chain* chain : {&out, &forward, &post}) chains.push_back(std::move(*chain));
}

Table inet_table(const Policy& policy) {
  Table table{TableFamily::Inet,
              policy.table,
              counter_names(),
              inet_sets(policy, kSeenSize, kSeenSeconds),
              {}};
  auto& chains = table.chains;
  chains.push_back(inbound_chain(policy.marks));
  chains.push_back(capture_chain(policy));
  chains.push_back(prerouting_chain(policy));
  chains.push_back(marking_chain(policy));
  chains.push_back(barrier_chain(policy));
  if (policy.mode == Mode::Open) return table;
  chains.push_back(allowed_chain(policy));
  append_refusal(chains);
  append_killswitch(policy, chains);
  return table;
}

// A machine answers ARP for any of its addresses on any link: not for the TUN's.
Table arp_table(const Policy& policy) {
  Chain in{"in", {{ChainType::Filter, HookPoint::Input, kFilter, false, {}}}, {}};
  Chain out{"out", {{ChainType::Filter, HookPoint::Output, kFilter, false, {}}}, {}};
  for (const IpAddress& address : policy.tun_addresses) {
    if (!address.is_v4()) continue;
    in.rules.push_back(rule(is_address(Field::ArpDestination, address), drop()));
    out.rules.push_back(rule(is_address(Field::ArpSource, address), drop()));
  }
  return {TableFamily::Arp, policy.table, {}, {}, {std::move(in), std::move(out)}};
}

}  // namespace

const Table* find_table(const Ruleset& ruleset, TableFamily family) noexcept {
  for (const Table& table : ruleset.tables) {
    if (table.family == family) return &table;
  }
  return nullptr;
}

Ruleset build_ruleset(const Policy& policy) {
  Ruleset ruleset{{}, policy.mode == Mode::Open};
  ruleset.tables.push_back(inet_table(policy));
  ruleset.tables.push_back(arp_table(policy));
  if (guards_egress(policy)) ruleset.tables.push_back(egress_table(policy));
  return ruleset;
}

}  // namespace proxyvpn::firewall
