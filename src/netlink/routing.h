#pragma once
// The door to rtnetlink(7): what changes links, addresses, routes and rules, and what reads them.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "netlink/plan.h"

namespace proxyvpn::netlink {

struct LinkInfo {
  std::uint32_t index = 0;
  std::string name;
  std::string kind;  // "tun", "veth", "bridge", ... empty for hardware
  bool up = false;
  bool loopback = false;
  std::uint32_t master = 0;  // index of the bridge that it is a port of, 0 for none
  bool has_lower = false;    // stacked on another link (macvlan, vlan); a veth's peer doesn't count
};

struct AddressInfo {
  std::uint32_t link = 0;
  Cidr cidr;
};

// Everything the set-up looks at before it decides.
struct Snapshot {
  std::vector<LinkInfo> links;
  std::vector<AddressInfo> addresses;
  // In `ip rule` syntax, "200: from all fwmark 0x1/0x3 lookup 28790 proto 112", in the kernel's
  // order; rules_v6 are those of `ip -6 rule`.
  std::vector<std::string> rules;
  std::vector<std::string> rules_v6;
  bool has_ipv6 = false;           // the kernel has IPv6 (a link may still have it switched off)
  bool ipv6_on_new_links = false;  // what a new link gets: net.ipv6.conf.default.disable_ipv6=0
  // Routes of every table but local, main and default, both families, in `ip route show table all`
  // syntax: "unreachable default table 28790 proto 112 metric 4294967295". At most 1,000.
  std::vector<std::string> routes;
  bool has_default_route_v4 = false;  // in main or default, not ours, not unreachable
  bool has_default_route_v6 = false;
  // Links (index) that these point to; not those of a route with several next hops.
  std::vector<std::uint32_t> default_route_links;
  std::vector<std::uint32_t> tables_in_use;  // route tables with at least one route that isn't ours
};

class Routing {
 public:
  virtual ~Routing() = default;

  // Each `add` is idempotent: "exists already" with the same content is success, a route of ours
  // with other content is replaced, one of somebody else in its place is Code::Exists. `remove` of
  // what is missing is success. Every object carries kProtocolId where the kernel has a place for
  // it, and only such objects are ever removed. Where the kernel has no IPv6, or the device has it
  // switched off, `add` of an IPv6 object is Code::Unsupported and `remove` is success.
  virtual Result<> add(const Route& route) = 0;
  virtual Result<> remove(const Route& route) = 0;
  virtual Result<> add(const PolicyRule& rule) = 0;
  virtual Result<> remove(const PolicyRule& rule) = 0;
  // Alias, addresses, MTU, queue length, rp_filter and so on, then up. Code::Unsupported when
  // everything is done but an IPv6 address that this machine doesn't take.
  virtual Result<> set_up(const LinkSetup& link) = 0;
  // Deletes a link by name, only when it is a TUN device that set_up() has labelled (kLinkAlias).
  // Code::Exists when somebody else has this name: the link is left alone.
  virtual Result<> remove_tun(const std::string& name) = 0;
  // From the kernel's state alone: every rule and every route (all tables) with kProtocolId.
  // Answers how many objects went. Deletes in a loop, as a rule can stand there twice.
  virtual Result<unsigned> remove_all_of_ours() = 0;
  // True when every rule, barrier route and device route of the plan is there. What is IPv6 counts
  // as there on a kernel without it.
  virtual Result<bool> complete(const RoutingPlan& plan) = 0;
  virtual Result<Snapshot> snapshot() = 0;
};

// Opens one NETLINK_ROUTE socket in the network namespace of the caller. What changes something
// needs CAP_NET_ADMIN effective in that call and when the socket is opened: the kernel looks at
// both. Every exchange with the kernel ends within five seconds, with Code::Timeout if need be.
Result<std::unique_ptr<Routing>> open_routing();

// A socket that becomes readable when links, addresses, routes or rules change (RTNLGRP_*).
class Monitor {
 public:
  virtual ~Monitor() = default;
  [[nodiscard]] virtual int fd() const noexcept = 0;
  struct Changes {
    bool links = false;
    bool addresses = false;
    bool routes = false;
    bool rules = false;
  };
  // Reads what is there without blocking, some hundred messages at most: where more is left, the
  // socket stays readable. An overrun (ENOBUFS) reports every kind as changed. Not reported: routes
  // that are neither default routes nor ours (left out in the kernel, so that a routing daemon
  // doesn't wake us), and news of a link whose name, index, MTU, master and state are the same.
  // IPv4 routes that go because a link went down are only reported as a change of links.
  virtual Changes drain() noexcept = 0;
};
Result<std::unique_ptr<Monitor>> open_monitor();

}  // namespace proxyvpn::netlink
