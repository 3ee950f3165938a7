#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "base/hex.h"
#include "firewall/ruleset.h"

namespace proxyvpn::firewall {
namespace {

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Narrower than the kernel (dev_valid_name()): quotes, and the wildcards of nft ("*") and iptables
// ("+"), would change what a rule written as text means.
bool is_link_name(std::string_view name) {
  if (name.empty() || name.size() > 15 || name == "." || name == "..") return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return is_alphanumeric(c) || std::string_view("._-@~").find(c) != std::string_view::npos;
  });
}

bool is_table_name(std::string_view name) {
  if (name.empty() || name.size() > 31 || !is_alphanumeric(name.front())) return false;
  if (name.front() >= '0' && name.front() <= '9') return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_' || c == '-'; });
}

Result<> check_marks(const Marks& marks) {
  const std::array values{marks.capture, marks.bypass, marks.inbound};
  for (const std::uint32_t value : values) {
    if (value == 0 || (value & ~marks.mask) != 0)
      return fail(Code::InvalidArgument, "mark " + hex(value) +
                                             " must be at least one bit within " + "the mask " +
                                             hex(marks.mask));
  }
  if (std::set<std::uint32_t>(values.begin(), values.end()).size() != values.size())
    return fail(Code::InvalidArgument, "the marks " + hex(values[0]) + ", " + hex(values[1]) +
                                           " and " + hex(values[2]) + " must differ");
  return {};
}

Result<> check_links(const Policy& policy) {
  std::vector<std::string> links{policy.tun_name};
  for (const auto* list : {&policy.inside_links, &policy.guarded_uplinks, &policy.guarded_ports})
    links.insert(links.end(), list->begin(), list->end());
  for (const std::string& link : links) {
    if (!is_link_name(link))
      return fail(Code::InvalidArgument,
                  "\"" + link + "\" cannot be written into a firewall rule as the name of a link " +
                      "(1 to 15 letters, digits and . _ - @ ~)");
  }
  std::set<std::string> guarded(policy.guarded_uplinks.begin(), policy.guarded_uplinks.end());
  guarded.insert(policy.guarded_ports.begin(), policy.guarded_ports.end());
  if (guarded.size() != policy.guarded_uplinks.size() + policy.guarded_ports.size())
    return fail(Code::InvalidArgument, "a link is named twice for the egress guard");
  return {};
}

Result<> check_addresses(const Policy& policy) {
  for (const Endpoint& proxy : policy.proxies) {
    if (proxy.port == 0)
      return fail(Code::InvalidArgument, "proxy " + to_string(proxy) + " has no port");
  }
  for (const auto* list : {&policy.direct, &policy.inside_networks}) {
    for (const Cidr& network : *list) {
      if (network.prefix > network.address.bits())
        return fail(Code::InvalidArgument, "network " + to_string(network) + ": prefix too long");
    }
  }
  for (const KeepFlow& flow : policy.keep) {
    if (flow.local.address.family() != flow.remote.address.family())
      return fail(Code::InvalidArgument, "connection " + to_string(flow.local) + " - " +
                                             to_string(flow.remote) + " mixes IPv4 and IPv6");
  }
  return {};
}

}  // namespace

Result<> check(const Policy& policy) {
  if (!is_table_name(policy.table))
    return fail(Code::InvalidArgument, "\"" + policy.table + "\" cannot be the name of a table " +
                                           "(a letter, then letters, digits, _ and -, 31 at most)");
  if (auto marks = check_marks(policy.marks); !marks) return marks;
  if (auto links = check_links(policy); !links) return links;
  return check_addresses(policy);
}

}  // namespace proxyvpn::firewall
