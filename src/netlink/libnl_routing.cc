// Routing over libnl-3.
#include <fcntl.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/unique_fd.h"
#include "netlink/link_codec.h"
#include "netlink/names.h"
#include "netlink/netlink_socket.h"
#include "netlink/route_codec.h"
#include "netlink/route_text.h"
#include "netlink/routing.h"
#include "netlink/rule_codec.h"

namespace proxyvpn::netlink {
namespace {

constexpr Family kFamilies[] = {Family::V4, Family::V6};
constexpr std::size_t kMaxRouteTexts = 1000;  // Snapshot::routes
// remove_all_of_ours() lists again after each round; a round that removes nothing ends it.
constexpr int kRounds = 16;

// The kernel has no such family, or no policy rules or IPv6 on this device (EACCES; want of a
// capability is EPERM).
bool unsupported(const Error& error, Family family) {
  if (error.sys_errno == EAFNOSUPPORT || error.sys_errno == EOPNOTSUPP) return true;
  return family == Family::V6 && error.sys_errno == EACCES;
}

Result<> marked_unsupported(Result<> result, Family family) {
  if (!result && unsupported(result.error(), family)) result.error().code = Code::Unsupported;
  return result;
}

bool gone(const Error& error) { return error.code == Code::NotFound; }

bool is_default_route(const ListedRoute& route) {
  return route.prefix == 0 && route.protocol != kProtocolId && route.type == RTN_UNICAST &&
         (route.table == RT_TABLE_MAIN || route.table == RT_TABLE_DEFAULT);
}

class LibnlRouting final : public Routing {
 public:
  explicit LibnlRouting(NetlinkSocket socket) : socket_(std::move(socket)) {}

  Result<> add(const Route& route) override;
  Result<> remove(const Route& route) override;
  Result<> add(const PolicyRule& rule) override;
  Result<> remove(const PolicyRule& rule) override;
  Result<> set_up(const LinkSetup& link) override { return set_up_link(socket_, link); }
  Result<> remove_tun(const std::string& name) override { return remove_our_tun(socket_, name); }
  Result<unsigned> remove_all_of_ours() override;
  Result<bool> complete(const RoutingPlan& plan) override;
  Result<Snapshot> snapshot() override;

 private:
  // What a listing answers, each through `parse`, which passes over it by giving nothing.
  template <class T, class Parse>
  Result<std::vector<T>> list(Message message, const std::string& doing, Parse parse);
  Result<std::vector<ListedRoute>> routes(Family family, std::uint32_t table,
                                          std::uint8_t protocol);
  Result<std::vector<PolicyRule>> our_rules(Family family);
  // The messages of our rules or routes, to be sent back as deletions.
  Result<std::vector<StoredMessage>> our_rule_messages(Family family);
  Result<std::vector<StoredMessage>> our_route_messages(Family family);
  // 0 for a route without a device, and for a device that isn't there.
  Result<std::uint32_t> device_of(const Route& route);
  Result<> replace_own(const Route& route, std::uint32_t device);
  Result<unsigned> remove_each(const std::vector<StoredMessage>& messages, int type);
  Result<bool> has_rules(const std::vector<PolicyRule>& wanted);
  Result<bool> has_routes(const std::vector<Route>& wanted);
  Result<> read_links(Snapshot& snapshot);
  Result<> read_rules(Snapshot& snapshot);
  Result<> read_routes(Snapshot& snapshot);
  Result<> read_routes(Snapshot& snapshot, Family family, std::set<std::uint32_t>& tables);

  NetlinkSocket socket_;
};

template <class T, class Parse>
Result<std::vector<T>> LibnlRouting::list(Message message, const std::string& doing, Parse parse) {
  std::vector<T> found;
  const auto result = socket_.dump(
      message, doing,
      [&](const nlmsghdr* answer) {
        if (auto value = parse(answer)) found.push_back(std::move(*value));
      },
      [&] { found.clear(); });
  if (!result) return tl::unexpected(result.error());
  return found;
}

Result<std::vector<ListedRoute>> LibnlRouting::routes(Family family, std::uint32_t table,
                                                      std::uint8_t protocol) {
  auto result =
      list<ListedRoute>(route_listing(family, table, protocol),
                        ip_command(family) + std::string("route show table ") +
                            (table == kAnyTable ? std::string("all") : std::to_string(table)),
                        [=](const nlmsghdr* message) -> std::optional<ListedRoute> {
                          auto route = parse_route(message);
                          if (!route || route->family != family) return {};
                          if (table != kAnyTable && route->table != table) return {};
                          if (protocol != kAnyProtocol && route->protocol != protocol) return {};
                          return route;
                        });
  // A table that was never used, or a family that the kernel doesn't have, has no routes.
  if (!result && (gone(result.error()) || unsupported(result.error(), family)))
    return std::vector<ListedRoute>();
  return result;
}

Result<std::vector<PolicyRule>> LibnlRouting::our_rules(Family family) {
  return list<PolicyRule>(rule_listing(family), ip_command(family) + std::string("rule show"),
                          [family](const nlmsghdr* message) -> std::optional<PolicyRule> {
                            if (rule_protocol(message) != kProtocolId) return {};
                            auto rule = parse_rule(message);
                            return rule && rule->family == family ? rule : std::nullopt;
                          });
}

Result<std::vector<StoredMessage>> LibnlRouting::our_rule_messages(Family family) {
  auto result = list<StoredMessage>(
      rule_listing(family), ip_command(family) + std::string("rule show"),
      [](const nlmsghdr* message) -> std::optional<StoredMessage> {
        return rule_protocol(message) == kProtocolId ? std::optional(store(message)) : std::nullopt;
      });
  if (!result && unsupported(result.error(), family)) return std::vector<StoredMessage>();
  return result;
}

Result<std::vector<StoredMessage>> LibnlRouting::our_route_messages(Family family) {
  auto result = list<StoredMessage>(
      route_listing(family, kAnyTable, kProtocolId), ip_command(family) + std::string("route show"),
      [family](const nlmsghdr* message) -> std::optional<StoredMessage> {
        const auto route = parse_route(message);
        if (!route || route->family != family || route->protocol != kProtocolId) return {};
        return store(message);
      });
  if (!result && (gone(result.error()) || unsupported(result.error(), family)))
    return std::vector<StoredMessage>();
  return result;
}

Result<std::uint32_t> LibnlRouting::device_of(const Route& route) {
  if (route.type == RouteType::Unreachable) return 0u;
  const auto link = find_link(socket_, route.device);
  if (!link) return tl::unexpected(link.error());
  return *link ? (*link)->info.index : 0u;
}

Result<> LibnlRouting::add(const Route& route) {
  const std::string doing = to_command(route);
  const auto device = device_of(route);
  if (!device) return wrap(device.error(), doing);
  if (route.type != RouteType::Unreachable && *device == 0) return fail_errno(ENODEV, doing);
  Message message = route_message(route, *device, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  auto result = socket_.request(message, doing);
  if (!result && result.error().sys_errno == EEXIST) return replace_own(route, *device);
  return marked_unsupported(std::move(result), route.family);
}

// Something is in the place of `route`: it itself, an older one of ours, or somebody else's.
Result<> LibnlRouting::replace_own(const Route& route, std::uint32_t device) {
  const std::string doing = to_command(route);
  const auto listed = routes(route.family, route.table, kAnyProtocol);
  if (!listed) return wrap(listed.error(), doing);
  const auto at = std::find_if(listed->begin(), listed->end(),
                               [&](const ListedRoute& one) { return same_place(one, route); });
  if (at != listed->end() && same_route(*at, route, device)) return {};
  if (at != listed->end() && at->protocol != kProtocolId)
    return fail(Code::Exists, doing + ": table " + std::to_string(route.table) +
                                  " has a default route of somebody else with this metric" +
                                  " (protocol " + std::to_string(at->protocol) +
                                  "); remove it or choose another table");
  Message message = route_message(route, device, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
  return marked_unsupported(socket_.request(message, doing), route.family);
}

Result<> LibnlRouting::remove(const Route& route) {
  const auto device = device_of(route);
  if (!device) return wrap(device.error(), "removing what was made by " + to_command(route));
  if (route.type == RouteType::Unicast && *device == 0) return {};  // gone with its device
  Message message = route_message(route, *device, RTM_DELROUTE, 0);
  auto result = socket_.request(message, "removing what was made by " + to_command(route));
  if (!result && (gone(result.error()) || unsupported(result.error(), route.family))) return {};
  return result;
}

Result<> LibnlRouting::add(const PolicyRule& rule) {
  const std::string doing = to_command(rule);
  const auto ours = our_rules(rule.family);
  if (!ours) return marked_unsupported(wrap(ours.error(), doing), rule.family);
  PolicyRule wanted = rule;
  if (wanted.action != RuleAction::Lookup) wanted.table = 0;
  if (std::find(ours->begin(), ours->end(), wanted) != ours->end()) return {};
  // Not NLM_F_EXCL: the kernel takes a rule that differs only in `not`, or that somebody else made,
  // for the same.
  Message message = rule_message(rule, RTM_NEWRULE, NLM_F_CREATE);
  return marked_unsupported(socket_.request(message, doing), rule.family);
}

Result<> LibnlRouting::remove(const PolicyRule& rule) {
  PolicyRule wanted = rule;
  if (wanted.action != RuleAction::Lookup) wanted.table = 0;
  const std::string doing = "removing what was made by " + to_command(rule);
  for (int round = 0; round < kRounds; ++round) {
    const auto ours = our_rules(rule.family);
    if (!ours && unsupported(ours.error(), rule.family)) return {};
    if (!ours) return wrap(ours.error(), doing);
    if (std::find(ours->begin(), ours->end(), wanted) == ours->end()) return {};
    Message message = rule_message(rule, RTM_DELRULE, 0);
    auto result = socket_.request(message, doing);
    if (!result && !gone(result.error())) return result;
  }
  return fail(Code::Busy, doing + ": somebody adds this rule again and again");
}

Result<unsigned> LibnlRouting::remove_each(const std::vector<StoredMessage>& messages, int type) {
  unsigned removed = 0;
  for (const StoredMessage& one : messages) {
    Message message(stored(one), type, 0);
    const auto result = socket_.request(
        message, type == RTM_DELRULE ? "removing our policy rules" : "removing our routes");
    if (result) ++removed;
    if (!result && !gone(result.error())) return tl::unexpected(result.error());
  }
  return removed;
}

Result<unsigned> LibnlRouting::remove_all_of_ours() {
  unsigned removed = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::size_t found = 0;
    // Rules first: a table that loses its routes must not be looked at any more.
    for (const int type : {RTM_DELRULE, RTM_DELROUTE}) {
      for (const Family family : kFamilies) {
        const auto messages =
            type == RTM_DELRULE ? our_rule_messages(family) : our_route_messages(family);
        if (!messages) return tl::unexpected(messages.error());
        const auto count = remove_each(*messages, type);
        if (!count) return tl::unexpected(count.error());
        found += messages->size();
        removed += *count;
      }
    }
    if (found == 0) return removed;
  }
  return fail(Code::Busy, "removing our rules and routes: somebody adds them again and again");
}

Result<bool> LibnlRouting::has_rules(const std::vector<PolicyRule>& wanted) {
  for (const Family family : kFamilies) {
    if (std::none_of(wanted.begin(), wanted.end(),
                     [=](const PolicyRule& rule) { return rule.family == family; }))
      continue;
    const auto ours = our_rules(family);
    if (!ours && unsupported(ours.error(), family)) continue;
    if (!ours) return tl::unexpected(ours.error());
    for (PolicyRule rule : wanted) {
      if (rule.family != family) continue;
      if (rule.action != RuleAction::Lookup) rule.table = 0;
      if (std::find(ours->begin(), ours->end(), rule) == ours->end()) return false;
    }
  }
  return true;
}

Result<bool> LibnlRouting::has_routes(const std::vector<Route>& wanted) {
  for (const Route& route : wanted) {
    const auto device = device_of(route);
    if (!device) return tl::unexpected(device.error());
    if (route.type == RouteType::Unicast && *device == 0) return false;
    const auto listed = routes(route.family, route.table, kProtocolId);
    if (!listed) return tl::unexpected(listed.error());
    if (std::none_of(listed->begin(), listed->end(),
                     [&](const ListedRoute& one) { return same_route(one, route, *device); }))
      return false;
  }
  return true;
}

Result<bool> LibnlRouting::complete(const RoutingPlan& plan) {
  auto rules = has_rules(plan.rules);
  if (!rules || !*rules) return rules;
  std::vector<Route> wanted = plan.barrier_routes;
  wanted.insert(wanted.end(), plan.device_routes.begin(), plan.device_routes.end());
  const auto is_v6 = [](const Route& route) { return route.family == Family::V6; };
  if (std::any_of(wanted.begin(), wanted.end(), is_v6)) {
    const auto v6 = our_rules(Family::V6);  // the kernel's word on whether it has IPv6
    if (!v6 && unsupported(v6.error(), Family::V6))
      wanted.erase(std::remove_if(wanted.begin(), wanted.end(), is_v6), wanted.end());
  }
  return has_routes(wanted);
}

Result<> LibnlRouting::read_links(Snapshot& snapshot) {
  auto links = list<LinkInfo>(link_listing(), "ip link show",
                              [](const nlmsghdr* message) -> std::optional<LinkInfo> {
                                const auto link = parse_link(message);
                                return link ? std::optional(link->info) : std::nullopt;
                              });
  if (!links) return tl::unexpected(links.error());
  auto addresses = list<AddressInfo>(address_listing(), "ip address show", parse_address);
  if (!addresses) return tl::unexpected(addresses.error());
  snapshot.links = std::move(*links);
  snapshot.addresses = std::move(*addresses);
  return {};
}

Result<> LibnlRouting::read_rules(Snapshot& snapshot) {
  for (const Family family : kFamilies) {
    auto rules = list<std::string>(
        rule_listing(family), ip_command(family) + std::string("rule show"),
        [](const nlmsghdr* message) -> std::optional<std::string> { return rule_text(message); });
    if (!rules && unsupported(rules.error(), family)) continue;
    if (!rules) return tl::unexpected(rules.error());
    if (family == Family::V6) snapshot.has_ipv6 = true;
    (family == Family::V6 ? snapshot.rules_v6 : snapshot.rules) = std::move(*rules);
  }
  return {};
}

// Both families point to the same few links; a restarted dump finds them again.
void note_device(const ListedRoute& route, std::vector<std::uint32_t>& links) {
  const bool known = std::find(links.begin(), links.end(), route.device) != links.end();
  if (route.device != 0 && !known) links.push_back(route.device);
}

// Looked at one by one and most not kept: a router has a million.
Result<> LibnlRouting::read_routes(Snapshot& snapshot, Family family,
                                   std::set<std::uint32_t>& tables) {
  const auto device_name = [&snapshot](std::uint32_t index) {
    for (const LinkInfo& link : snapshot.links)
      if (link.index == index) return link.name;
    return "if" + std::to_string(index);
  };
  const std::size_t before = snapshot.routes.size();
  bool& has_default =
      family == Family::V6 ? snapshot.has_default_route_v6 : snapshot.has_default_route_v4;
  const auto visit = [&](const nlmsghdr* answer) {
    const auto route = parse_route(answer);
    if (!route || route->family != family) return;
    if (route->protocol != kProtocolId) tables.insert(route->table);
    if (is_default_route(*route)) {
      has_default = true;
      note_device(*route, snapshot.default_route_links);
    }
    if (snapshot.routes.size() >= kMaxRouteTexts) return;
    auto text = foreign_table_route_text(answer, device_name);
    if (!text.empty()) snapshot.routes.push_back(std::move(text));
  };
  Message message = route_listing(family, kAnyTable, kAnyProtocol);
  auto result =
      socket_.dump(message, ip_command(family) + std::string("route show table all"), visit, [&] {
        has_default = false;
        snapshot.routes.resize(before);
      });
  if (!result && unsupported(result.error(), family)) return {};
  return result;
}

Result<> LibnlRouting::read_routes(Snapshot& snapshot) {
  std::set<std::uint32_t> tables;
  for (const Family family : kFamilies)
    if (auto result = read_routes(snapshot, family, tables); !result) return result;
  snapshot.tables_in_use.assign(tables.begin(), tables.end());
  return {};
}

// Of the caller's network namespace, as that of the socket.
bool ipv6_on_new_links() {
  const UniqueFd file(::open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_RDONLY | O_CLOEXEC));
  char value = '1';
  return file && ::read(file.get(), &value, 1) == 1 && value == '0';
}

Result<Snapshot> LibnlRouting::snapshot() {
  Snapshot snapshot;
  snapshot.ipv6_on_new_links = ipv6_on_new_links();
  for (const auto& part : {read_links(snapshot), read_rules(snapshot), read_routes(snapshot)})
    if (!part) return wrap(part.error(), "reading the machine's network set-up");
  return snapshot;
}

}  // namespace

Result<std::unique_ptr<Routing>> open_routing() {
  auto socket = NetlinkSocket::open(NETLINK_ROUTE);
  if (!socket) return wrap(socket.error(), "opening the door to routes and rules");
  return std::make_unique<LibnlRouting>(std::move(*socket));
}

}  // namespace proxyvpn::netlink
