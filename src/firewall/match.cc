#include "firewall/match.h"

#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "base/hex.h"

namespace proxyvpn::firewall {
namespace {

// Meta and conntrack registers hold numbers in the machine's own byte order.
std::vector<std::uint8_t> host_bytes(std::uint32_t number) {
  std::vector<std::uint8_t> bytes(sizeof number);
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

std::vector<std::uint8_t> network_bytes(std::uint16_t number) {
  return {static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number & 0xff)};
}

std::string route_type_name(unsigned type) {
  switch (type) {
    case RTN_LOCAL:
      return "local";
    case RTN_BROADCAST:
      return "broadcast";
    case RTN_MULTICAST:
      return "multicast";
    default:
      return std::to_string(type);
  }
}

Compare equal(Field field, Value value) {
  return {field, false, {}, std::move(value.bytes), std::move(value.text)};
}

}  // namespace

Value value_of(const IpAddress& address) {
  const auto bytes = address.bytes();
  return {{bytes.begin(), bytes.end()}, to_string(address)};
}

Value port_value(std::uint16_t port) { return {network_bytes(port), std::to_string(port)}; }

Value uid_value(uid_t uid) { return {host_bytes(uid), std::to_string(uid)}; }

Value link_value(std::string_view name) {
  Value value{std::vector<std::uint8_t>(16), '"' + std::string(name) + '"'};
  std::copy_n(name.begin(), std::min<std::size_t>(name.size(), 15), value.bytes.begin());
  return value;
}

Compare is_loopback(Field link) { return {link, false, {}, host_bytes(1), "\"lo\""}; }

Compare is_link(Field link_name, std::string_view name) {
  return equal(link_name, link_value(name));
}

Compare is_protocol(std::uint8_t protocol) {
  return {Field::L4Proto, false, {}, {protocol}, ip_protocol_name(protocol)};
}

Compare is_not_protocol(std::uint8_t protocol) {
  return {Field::L4Proto, true, {}, {protocol}, "!= " + ip_protocol_name(protocol)};
}

Compare is_port(Field port, std::uint16_t number) { return equal(port, port_value(number)); }

Compare is_address(Field field, const IpAddress& address) {
  return equal(field, value_of(address));
}

Compare is_within(Field field, const Cidr& network) {
  const Cidr masked = network.network();
  const auto bytes = masked.address.bytes();
  Compare compare{field, false, {}, {bytes.begin(), bytes.end()}, to_string(masked)};
  for (unsigned bit = 0; bit < masked.address.bits(); bit += 8) {
    const unsigned ones = masked.prefix > bit ? std::min(masked.prefix - bit, 8U) : 0U;
    compare.mask.push_back(static_cast<std::uint8_t>(0xff00U >> ones));
  }
  return compare;
}

Compare is_uid(uid_t uid) { return equal(Field::SocketUid, uid_value(uid)); }

Compare is_in_cgroup(const DirectCgroup& group) {
  std::vector<std::uint8_t> bytes(sizeof group.id);
  std::memcpy(bytes.data(), &group.id, sizeof group.id);
  return {Field::SocketCgroup, false, {}, std::move(bytes), '"' + group.name + '"'};
}

Compare is_mark(Field mark, std::uint32_t mask, std::uint32_t value) {
  return {mark, false, host_bytes(mask), host_bytes(value),
          "& " + hex(mask, 8) + " == " + hex(value, 8)};
}

Compare is_ether_type(std::uint16_t type) {
  return {Field::EtherType, false, {}, network_bytes(type), type == 0x0806 ? "arp" : hex(type, 4)};
}

Compare is_address_type(Field field, unsigned route_type) {
  return {field, false, {}, host_bytes(route_type), route_type_name(route_type)};
}

Compare is_icmp6_type(std::uint8_t type) {
  return {Field::Icmp6Type, false, {}, {type}, std::to_string(type)};
}

Compare is_hop_limit(std::uint8_t limit) {
  return {Field::Ip6HopLimit, false, {}, {limit}, std::to_string(limit)};
}

Compare is_new() {
  // The bit of IP_CT_NEW, as NF_CT_STATE_BIT() has it (linux/netfilter/nf_conntrack_common.h).
  return {Field::ConnectionState, true, host_bytes(8), host_bytes(0), "new"};
}

Compare is_syn() { return {Field::TcpFlags, false, {0x17}, {0x02}, "syn / fin,syn,rst,ack"}; }

Compare is_routed() {
  return {Field::RouteClass, true, {}, host_bytes(0xffffffff), "!= 0xffffffff"};
}

Lookup in_set(Field field, std::string set) { return {{field}, std::move(set)}; }

Lookup in_set(std::vector<Field> key, std::string set) { return {std::move(key), std::move(set)}; }

}  // namespace proxyvpn::firewall
