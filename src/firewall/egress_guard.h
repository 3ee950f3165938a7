#pragma once
// --egress-guard: a netdev egress chain on the uplinks, for what the inet hooks never see: packet
// sockets (AF_PACKET), macvlan and bridged guests. Needs Linux 5.16 (CONFIG_NETFILTER_EGRESS).
//
// `post` gives every packet that it lets out the mark value Marks::inbound, which no other packet
// carries; the uplink's chain lets out only packets with that mark, an own or inside source
// address and, on Policy::guarded_uplinks, a route (a packet socket's frames have none). ARP,
// neighbour discovery, multicast reports, DHCP and EAPOL pass by content.
#include "firewall/ruleset.h"

namespace proxyvpn::firewall {

bool guards_egress(const Policy& policy) noexcept;
Table egress_table(const Policy& policy);
SetMark mark_as_passed(const Marks& marks);

// What a host needs to keep its addresses and neighbours: DHCP by broadcast, DHCPv6, neighbour
// discovery and multicast reports, each as narrow as its RFC allows.
void append_housekeeping(std::vector<Rule>& rules);

Cidr link_local_multicast();  // ff02::/16

}  // namespace proxyvpn::firewall
