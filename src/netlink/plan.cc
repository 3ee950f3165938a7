#include "netlink/plan.h"

#include <algorithm>

#include "base/hex.h"
#include "netlink/names.h"

namespace proxyvpn::netlink {
namespace {

std::string protocol() { return " protocol " + std::to_string(kProtocolId); }

// sysctl(8) takes '/' between the parts too, which a device named "tun.1" needs.
std::string sysctl(const char* family, const std::string& device, const char* setting) {
  const char separator = device.find('.') == std::string::npos ? '.' : '/';
  std::string text = "sysctl -w net";
  for (const std::string& part : {std::string(family), std::string("conf"), device})
    text += separator + part;
  return text + separator + setting;
}

bool has_v6(const RoutingPlan& plan) {
  const auto v6 = [](const auto& object) { return object.family == Family::V6; };
  return std::any_of(plan.link.addresses.begin(), plan.link.addresses.end(),
                     [](const Cidr& cidr) { return cidr.address.is_v6(); }) ||
         std::any_of(plan.barrier_routes.begin(), plan.barrier_routes.end(), v6) ||
         std::any_of(plan.rules.begin(), plan.rules.end(), v6) ||
         std::any_of(plan.device_routes.begin(), plan.device_routes.end(), v6);
}

std::vector<std::string> link_commands(const LinkSetup& link, bool with_v6) {
  std::vector<std::string> lines;
  lines.push_back("ip tuntap add dev " + link.name + " mode tun");
  lines.push_back("ip link set dev " + link.name + " alias " + kLinkAlias + " mtu " +
                  std::to_string(link.mtu) + " txqueuelen " + std::to_string(link.tx_queue_length));
  lines.push_back(sysctl("ipv4", link.name, "rp_filter=2"));
  if (with_v6) {
    lines.push_back("ip link set dev " + link.name + " addrgenmode none");
    lines.push_back(sysctl("ipv6", link.name, "accept_ra=0"));
  }
  for (const Cidr& cidr : link.addresses) {
    const bool v6 = cidr.address.is_v6();
    lines.push_back(std::string(ip_command(cidr.address.family())) + "address add " +
                    to_string(cidr) + " dev " + link.name + (v6 ? " nodad" : ""));
  }
  lines.push_back("ip link set dev " + link.name + " up");
  return lines;
}

}  // namespace

bool is_ours(std::string_view line) {
  const std::string proto = " proto " + std::to_string(kProtocolId);
  const auto at = line.find(proto);
  return at != std::string_view::npos &&
         (at + proto.size() == line.size() || line[at + proto.size()] == ' ');
}

std::string to_string(const Mark& mark) {
  return mark.mask == 0xffffffff ? hex(mark.value) : hex(mark.value) + "/" + hex(mark.mask);
}

std::string to_string(const PolicyRule& rule) {
  std::string text = "rule add pref " + std::to_string(rule.priority);
  if (rule.invert) text += " not";
  text += " fwmark " + to_string(rule.mark);
  switch (rule.action) {
    case RuleAction::Lookup:
      text += " lookup " + std::to_string(rule.table);
      break;
    case RuleAction::Unreachable:
      text += " unreachable";
      break;
  }
  return text + protocol();
}

std::string to_string(const Route& route) {
  std::string text = "route add ";
  switch (route.type) {
    case RouteType::Unicast:
      text += "default dev " + route.device;
      break;
    case RouteType::Unreachable:
      text += "unreachable default";
      break;
    case RouteType::Local:
      text += "local default dev " + route.device;
      break;
  }
  text += " table " + std::to_string(route.table);
  if (route.metric != 0) text += " metric " + std::to_string(route.metric);
  return text + protocol();
}

std::string to_command(const PolicyRule& rule) { return ip_command(rule.family) + to_string(rule); }

std::string to_command(const Route& route) { return ip_command(route.family) + to_string(route); }

std::vector<std::string> to_commands(const LinkSetup& link) { return link_commands(link, true); }

std::vector<std::string> to_commands(const RoutingPlan& plan) {
  std::vector<std::string> lines;
  for (const Route& route : plan.barrier_routes) lines.push_back(to_command(route));
  for (const PolicyRule& rule : plan.rules) lines.push_back(to_command(rule));
  for (std::string& line : link_commands(plan.link, has_v6(plan))) lines.push_back(std::move(line));
  for (const Route& route : plan.device_routes) lines.push_back(to_command(route));
  return lines;
}

}  // namespace proxyvpn::netlink
