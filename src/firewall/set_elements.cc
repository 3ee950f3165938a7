#include "firewall/set_elements.h"

#include <algorithm>

#include "firewall/match.h"

namespace proxyvpn::firewall {
namespace {

KeyPart address_key(Family family) { return family == Family::V4 ? KeyPart::Ipv4 : KeyPart::Ipv6; }

Set plain_set(std::string name, std::vector<KeyPart> key) {
  Set set;
  set.name = std::move(name);
  set.key = std::move(key);
  return set;
}

void add(Set& set, std::vector<Value> parts) {
  Element element{std::move(parts), 0};
  // Sets of this size are small enough to look through; the kernel refuses nothing twice, but
  // text and listing shall be the same.
  if (std::find(set.elements.begin(), set.elements.end(), element) == set.elements.end())
    set.elements.push_back(std::move(element));
}

Set address_set(const char* name, Family family, const std::vector<IpAddress>& addresses) {
  Set set = plain_set(per_family(name, family), {address_key(family)});
  for (const IpAddress& address : addresses) {
    if (address.family() == family) add(set, {value_of(address)});
  }
  return set;
}

Set proxy_set(Family family, const std::vector<Endpoint>& proxies) {
  Set set = plain_set(per_family("proxy", family), {address_key(family), KeyPart::Port});
  for (const Endpoint& proxy : proxies) {
    if (proxy.address.family() == family)
      add(set, {value_of(proxy.address), port_value(proxy.port)});
  }
  return set;
}

Set flow_set(const char* name, Family family) {
  const KeyPart address = address_key(family);
  return plain_set(per_family(name, family), {address, KeyPart::Port, address, KeyPart::Port});
}

Set keep_set(Family family, const std::vector<KeepFlow>& flows) {
  Set set = flow_set("keep", family);
  std::vector<KeepFlow> sorted;
  for (const KeepFlow& flow : flows) {
    if (flow.local.address.family() == family) sorted.push_back(flow);
  }
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  for (const KeepFlow& flow : sorted) {
    set.elements.push_back({{value_of(flow.local.address), port_value(flow.local.port),
                             value_of(flow.remote.address), port_value(flow.remote.port)},
                            0});
  }
  return set;
}

}  // namespace

std::string per_family(const char* name, Family family) {
  return std::string(name) + (family == Family::V4 ? "4" : "6");
}

Set network_set(std::string name, Family family, std::span<const Cidr> networks) {
  Set set = plain_set(std::move(name), {address_key(family)});
  set.interval = true;
  std::vector<Cidr> sorted;
  for (const Cidr& network : networks) {
    if (network.address.family() == family) sorted.push_back(network.network());
  }
  // A network sorts right before those inside it.
  std::sort(sorted.begin(), sorted.end());
  const Cidr* outer = nullptr;
  for (const Cidr& network : sorted) {
    if (outer != nullptr && outer->contains(network.address)) continue;
    outer = &network;
    Value value = value_of(network.address);
    if (network.prefix < network.address.bits()) value.text = to_string(network);
    set.elements.push_back({{std::move(value)}, network.prefix});
  }
  return set;
}

std::vector<Set> inet_sets(const Policy& policy, std::uint32_t seen_size,
                           std::uint32_t seen_seconds) {
  std::vector<Set> sets;
  for (const Family family : {Family::V4, Family::V6}) {
    sets.push_back(address_set("tun", family, policy.tun_addresses));
    sets.push_back(proxy_set(family, policy.proxies));
    sets.push_back(address_set("dns", family, policy.resolvers));
    sets.push_back(network_set(per_family("direct", family), family, policy.direct));
    sets.push_back(network_set(per_family("inside", family), family, policy.inside_networks));
    sets.push_back(keep_set(family, policy.keep));
    Set seen = flow_set("seen", family);
    seen.dynamic = true;
    seen.size = seen_size;
    seen.timeout_seconds = seen_seconds;
    sets.push_back(std::move(seen));
  }
  Set exempt = plain_set("exempt", {KeyPart::Uid});
  for (const uid_t uid : policy.exempt_uids) add(exempt, {uid_value(uid)});
  Set links = plain_set("inside", {KeyPart::LinkName});
  for (const std::string& link : policy.inside_links) add(links, {link_value(link)});
  sets.push_back(std::move(exempt));
  sets.push_back(std::move(links));
  return sets;
}

}  // namespace proxyvpn::firewall
