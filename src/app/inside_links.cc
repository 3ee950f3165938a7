#include "app/inside_links.h"

#include <algorithm>
#include <set>

namespace proxyvpn::app {
namespace {

using netlink::LinkInfo;
using netlink::Snapshot;

bool is_guest_port(const LinkInfo& link) { return link.kind == "veth" || link.kind == "tun"; }

bool is_hardware(const LinkInfo& link) { return link.kind.empty() && !link.loopback; }

bool carries_default_route(const Snapshot& network, const LinkInfo& link) {
  return std::find(network.default_route_links.begin(), network.default_route_links.end(),
                   link.index) != network.default_route_links.end();
}

std::vector<LinkInfo> ports_of(const Snapshot& network, const LinkInfo& bridge) {
  std::vector<LinkInfo> ports;
  std::copy_if(network.links.begin(), network.links.end(), std::back_inserter(ports),
               [&](const LinkInfo& link) { return link.master == bridge.index; });
  return ports;
}

bool is_inside(const Snapshot& network, const LinkInfo& link) {
  if (link.kind != "bridge" || link.master != 0 || carries_default_route(network, link)) {
    return false;
  }
  const auto ports = ports_of(network, link);
  return std::all_of(ports.begin(), ports.end(), is_guest_port);
}

// What the firewall can write into a rule (firewall/policy_check.cc).
bool is_writable_name(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c < 0x80 && std::isalnum(c) != 0) ||
           std::string_view("._-@~").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

}  // namespace

std::vector<LinkInfo> inside_links(const Snapshot& network) {
  std::vector<LinkInfo> inside;
  std::copy_if(network.links.begin(), network.links.end(), std::back_inserter(inside),
               [&](const LinkInfo& link) {
                 return is_inside(network, link) && is_writable_name(link.name);
               });
  return inside;
}

std::vector<std::string> inside_link_names(const Snapshot& network) {
  std::vector<std::string> names;
  for (const auto& link : inside_links(network)) names.push_back(link.name);
  return names;
}

std::vector<Cidr> inside_networks(const Snapshot& network) {
  std::set<Cidr> networks;
  for (const auto& link : inside_links(network)) {
    for (const auto& address : network.addresses) {
      // fe80::/10 is on every link: it says nothing about where a packet goes.
      const bool own = address.link == link.index && !address.cidr.address.is_link_local();
      if (own) networks.insert(address.cidr.network());
    }
  }
  return {networks.begin(), networks.end()};
}

Uplinks uplinks(const Snapshot& network, const std::string& tun_name) {
  Uplinks result;
  for (const auto& link : network.links) {
    const bool way_out = is_hardware(link) || carries_default_route(network, link);
    const bool other = link.loopback || link.name == tun_name || link.kind == "bridge" ||
                       link.has_lower || !is_writable_name(link.name);
    if (!way_out || other) continue;
    (link.master == 0 ? result.links : result.ports).push_back(link.name);
  }
  // A bridge with a default route leads out through its ports, whatever they are; the ends of
  // guests are left alone.
  return result;
}

std::vector<std::string> unseen_guests(const Snapshot& network) {
  std::set<std::string> names;
  for (const auto& link : network.links) {
    if (link.kind == "macvlan" || link.kind == "macvtap" || link.kind == "ipvlan" ||
        link.kind == "ipvtap") {
      names.insert(link.name);
    }
    if (link.kind != "bridge" || is_inside(network, link)) continue;
    for (const auto& port : ports_of(network, link)) {
      if (is_guest_port(port)) names.insert(port.name);
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace proxyvpn::app
