#pragma once
// Makers of values and statements, so that a rule reads as it would in nft(8).
#include <string>
#include <string_view>
#include <utility>

#include "base/ip.h"
#include "firewall/ruleset.h"

namespace proxyvpn::firewall {

Value value_of(const IpAddress& address);
Value port_value(std::uint16_t port);
Value uid_value(uid_t uid);
Value link_value(std::string_view name);

Compare is_loopback(Field link);                            // iif "lo", oif "lo"
Compare is_link(Field link_name, std::string_view name);    // oifname "tun0"
Compare is_protocol(std::uint8_t protocol);                 // meta l4proto tcp
Compare is_not_protocol(std::uint8_t protocol);             // meta l4proto != tcp
Compare is_port(Field port, std::uint16_t number);          // udp dport 53
Compare is_address(Field field, const IpAddress& address);  // ip daddr 192.0.2.1
Compare is_within(Field field, const Cidr& network);        // ip6 saddr fe80::/10
Compare is_uid(uid_t uid);                                  // meta skuid 105
Compare is_in_cgroup(const DirectCgroup& group);            // socket cgroupv2 level 1 "name"
Compare is_mark(Field mark, std::uint32_t mask, std::uint32_t value);
Compare is_ether_type(std::uint16_t type);                  // meta protocol arp
Compare is_address_type(Field field, unsigned route_type);  // fib daddr type local (RTN_*)
Compare is_icmp6_type(std::uint8_t type);
Compare is_hop_limit(std::uint8_t limit);
Compare is_new();     // ct state new
Compare is_syn();     // SYN without ACK, FIN, RST
Compare is_routed();  // has a route, see Field::RouteClass

Lookup in_set(Field field, std::string set);
Lookup in_set(std::vector<Field> key, std::string set);

inline Verdict accept() { return {Action::Accept, {}}; }
inline Verdict drop() { return {Action::Drop, {}}; }
inline Verdict leave() { return {Action::Return, {}}; }
inline Verdict jump(std::string chain) { return {Action::Jump, std::move(chain)}; }
inline Verdict go_to(std::string chain) { return {Action::Goto, std::move(chain)}; }

template <class... S>
Rule rule(S&&... statements) {
  Rule made;
  (made.statements.emplace_back(std::forward<S>(statements)), ...);
  return made;
}

}  // namespace proxyvpn::firewall
