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
  bool has_lower = false;    // stacked on another link (macvlan, vlan)
};

struct AddressInfo {
  std::uint32_t link = 0;
  Cidr cidr;
};

// Everything the set-up looks at before it decides.
struct Snapshot {
  std::vector<LinkInfo> links;
  std::vector<AddressInfo> addresses;
  std::vector<std::string>
      rules;  // in `ip rule` syntax, "200: from all fwmark 0x1/0x3 lookup 28790"
  // Routes of every table but local, main and default, both families, in `ip route show table all`
  // syntax: "unreachable default table 28790 proto 112 metric 4294967295". At most 1,000.
  std::vector<std::string> routes;
  bool has_default_route_v4 = false;
  bool has_default_route_v6 = false;
  std::vector<std::uint32_t> tables_in_use;  // route tables with at least one route that isn't ours
};

class Routing {
 public:
  virtual ~Routing() = default;

  // Each `add` is idempotent: "exists already" with the same content is success. `remove` of what
  // is missing is success. Every object carries kProtocolId where the kernel has a place for it.
  virtual Result<> add(const Route& route) = 0;
  virtual Result<> remove(const Route& route) = 0;
  virtual Result<> add(const PolicyRule& rule) = 0;
  virtual Result<> remove(const PolicyRule& rule) = 0;
  // Addresses, MTU, queue length, rp_filter and so on, then up.
  virtual Result<> set_up(const LinkSetup& link) = 0;
  // Deletes a link by name, only when its kind is "tun".
  virtual Result<> remove_tun(const std::string& name) = 0;
  // From the kernel's state alone: every rule and every route (all tables) with kProtocolId.
  // Answers how many objects went. Deletes in a loop, as a rule can stand there twice.
  virtual Result<unsigned> remove_all_of_ours() = 0;
  // True when every rule, barrier route and device route of the plan is there.
  virtual Result<bool> complete(const RoutingPlan& plan) = 0;
  virtual Result<Snapshot> snapshot() = 0;
};

// Opens one NETLINK_ROUTE socket. Needs CAP_NET_ADMIN for everything that changes; the caller
// raises it around the call. Nothing blocks longer than the kernel takes.
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
  // Drains the socket without blocking. An overrun (ENOBUFS) reports every kind as changed.
  virtual Changes drain() noexcept = 0;
};
Result<std::unique_ptr<Monitor>> open_monitor();

}  // namespace proxyvpn::netlink
