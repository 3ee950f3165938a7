#include "firewall/egress_guard.h"

#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>

#include <array>

#include "firewall/match.h"
#include "firewall/set_elements.h"

namespace proxyvpn::firewall {
namespace {

constexpr std::uint16_t kRsnPreauthentication = 0x88c7;  // IEEE 802.11i; not in linux/if_ether.h
constexpr int kMld2Report = 143;                         // RFC 3810

IpAddress v6(std::array<std::uint8_t, 16> bytes) { return IpAddress::v6(bytes); }

Chain guard_chain(const char* name, const Policy& policy, bool routed) {
  Chain chain{name, {}, {}};
  auto& rules = chain.rules;
  rules.push_back(rule(is_ether_type(ETH_P_ARP), accept()));
  rules.push_back(rule(is_ether_type(ETH_P_PAE), accept()));
  rules.push_back(rule(is_ether_type(kRsnPreauthentication), accept()));
  append_housekeeping(rules);
  const Compare passed = is_mark(Field::PacketMark, policy.marks.mask, policy.marks.inbound);
  const std::array<Statement, 3> sources{is_address_type(Field::SourceType, RTN_LOCAL),
                                         in_set(Field::Ip4Source, "inside4"),
                                         in_set(Field::Ip6Source, "inside6")};
  for (const Statement& from : sources) {
    rules.push_back(routed ? rule(passed, is_routed(), from, accept())
                           : rule(passed, from, accept()));
  }
  return chain;
}

}  // namespace

bool guards_egress(const Policy& policy) noexcept {
  return policy.mode != Mode::Open &&
         !(policy.guarded_uplinks.empty() && policy.guarded_ports.empty());
}

SetMark mark_as_passed(const Marks& marks) {
  return {Field::PacketMark, marks.mask, marks.inbound};
}

Cidr link_local_multicast() { return {v6({0xff, 0x02}), 16}; }

void append_housekeeping(std::vector<Rule>& rules) {
  // RFC 2131: a client without an address.
  rules.push_back(rule(is_address(Field::Ip4Destination, IpAddress::v4(0xffffffffU)),
                       is_port(Field::UdpSource, 68), is_port(Field::UdpDestination, 67),
                       accept()));
  const Cidr link_local{v6({0xfe, 0x80}), 10};
  // RFC 8415: All_DHCP_Relay_Agents_and_Servers, and All_DHCP_Servers.
  const IpAddress agents = v6({0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2});
  const IpAddress servers = v6({0xff, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3});
  for (const IpAddress& to : {agents, servers}) {
    rules.push_back(rule(is_within(Field::Ip6Source, link_local),
                         is_address(Field::Ip6Destination, to), is_port(Field::UdpSource, 546),
                         is_port(Field::UdpDestination, 547), accept()));
  }
  // RFC 4861: valid only with hop limit 255.
  for (const int type : {ND_ROUTER_SOLICIT, ND_NEIGHBOR_SOLICIT, ND_NEIGHBOR_ADVERT})
    rules.push_back(
        rule(is_icmp6_type(static_cast<std::uint8_t>(type)), is_hop_limit(255), accept()));
  for (const int type : {MLD_LISTENER_REPORT, MLD_LISTENER_REDUCTION, kMld2Report}) {
    rules.push_back(rule(is_within(Field::Ip6Destination, link_local_multicast()),
                         is_icmp6_type(static_cast<std::uint8_t>(type)), accept()));
  }
}

Table egress_table(const Policy& policy) {
  Table table{TableFamily::Netdev, policy.table, {}, {}, {}};
  table.sets.push_back(network_set("inside4", Family::V4, policy.inside_networks));
  table.sets.push_back(network_set("inside6", Family::V6, policy.inside_networks));
  table.chains.push_back(guard_chain("uplink", policy, true));
  table.chains.push_back(guard_chain("port", policy, false));
  unsigned number = 0;
  const auto hang = [&](const std::vector<std::string>& links, const char* chain) {
    for (const std::string& link : links) {
      table.chains.push_back({"egress" + std::to_string(number++),
                              {{ChainType::Filter, HookPoint::Egress, 0, true, link}},
                              {rule(go_to(chain))}});
    }
  };
  hang(policy.guarded_uplinks, "uplink");
  hang(policy.guarded_ports, "port");
  return table;
}

}  // namespace proxyvpn::firewall
