#include "app/lifecycle.h"

#include <algorithm>
#include <utility>

namespace proxyvpn::app {
namespace {

using netlink::TcpSocket;

bool in_any(const std::vector<Cidr>& networks, const IpAddress& address) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const Cidr& network) { return network.contains(address); });
}

template <class T>
bool has(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

// Traffic that the policy lets out by itself, so that cutting it would only annoy.
bool direct_by_policy(const TcpSocket& socket, const firewall::Policy& policy) {
  const Endpoint& to = socket.remote;
  if (to.port == 53) return has(policy.resolvers, to.address);
  if (in_any(policy.direct, to.address) || in_any(policy.inside_networks, to.address)) return true;
  if (has(policy.exempt_uids, uid_t{socket.uid})) return true;
  const bool ours =
      (socket.mark & policy.marks.mask) == policy.marks.bypass && socket.uid == policy.daemon_uid;
  return ours && has(policy.proxies, to);
}

// 0: there is no link of this name.
std::uint32_t index_of(const netlink::Snapshot& snapshot, const std::string& name) {
  for (const auto& link : snapshot.links) {
    if (link.name == name) return link.index;
  }
  return 0;
}

}  // namespace

firewall::Policy shut(firewall::Policy policy) {
  policy.mode = firewall::Mode::Shut;
  return policy;
}

netlink::Route lock_marker() {
  netlink::Route route;
  route.type = netlink::RouteType::Unreachable;
  route.table = netlink::kDefaultTable;
  route.metric = 0xfffffffe;  // the barrier route has 0xffffffff
  return route;
}

Result<bool> is_locked(netlink::Routing& routing) {
  netlink::RoutingPlan marker;
  marker.barrier_routes = {lock_marker()};
  return routing.complete(marker);
}

Result<MachineSockets> list_sockets(netlink::SocketDiag& door) {
  auto connected = door.connected();
  if (!connected) return tl::unexpected(std::move(connected.error()));
  const auto listeners = door.listeners();
  if (!listeners) return tl::unexpected(listeners.error());
  auto inbound = netlink::inbound(*connected, *listeners);
  return MachineSockets{std::move(*connected), std::move(inbound)};
}

bool keep_inbound(const MachineSockets& sockets, firewall::Policy& policy) {
  bool more = false;
  for (const TcpSocket& socket : sockets.inbound) {
    const firewall::KeepFlow flow{socket.local, socket.remote};
    if (has(policy.keep, flow)) continue;
    policy.keep.push_back(flow);
    more = true;
  }
  return more;
}

std::vector<TcpSocket> captured(const MachineSockets& sockets, const firewall::Policy& policy) {
  // What came in, and the near ends of connections to a service of this machine.
  std::set<std::pair<Endpoint, Endpoint>> spared;
  for (const TcpSocket& socket : sockets.inbound) {
    spared.emplace(socket.local, socket.remote);
    spared.emplace(socket.remote, socket.local);
  }
  std::vector<TcpSocket> result;
  for (const TcpSocket& socket : sockets.connected) {
    const bool spare = spared.count({socket.local, socket.remote}) != 0;
    if (!spare && !direct_by_policy(socket, policy)) result.push_back(socket);
  }
  return result;
}

const std::vector<Lifecycle::Step> Lifecycle::kSteps = {
    {"killswitch", &Lifecycle::raise_killswitch, &Lifecycle::drop_killswitch},
    {"cut earlier connections", &Lifecycle::cut_earlier_connections, &Lifecycle::nothing},
    {"barrier routes", &Lifecycle::clear_leftovers, &Lifecycle::remove_barrier_routes},
    {"policy rules", &Lifecycle::add_rules, &Lifecycle::remove_rules},
    {"TUN device", &Lifecycle::make_tun, &Lifecycle::remove_tun},
    {"device routes", &Lifecycle::add_device_routes, &Lifecycle::remove_device_routes},
};

Lifecycle::Lifecycle(HostDoors doors, HostPlan plan, Hooks hooks)
    : doors_(std::move(doors)), plan_(std::move(plan)), hooks_(std::move(hooks)) {}

std::shared_ptr<void> Lifecycle::raised() const { return doors_.raise ? doors_.raise() : nullptr; }

void Lifecycle::warn(const std::string& sentence) const {
  if (hooks_.warn) hooks_.warn(sentence);
}

Result<> Lifecycle::take(std::size_t index) {
  const Step& step = kSteps[index];
  const int number = static_cast<int>(index) + 1;
  if (hooks_.before) hooks_.before(number, step.name);
  Result<> result;
  {
    const auto capability = raised();
    result = (this->*step.apply)();
  }
  if (result && hooks_.after) result = hooks_.after(number, step.name);
  return result;
}

Result<> Lifecycle::up() {
  for (done_ = 0; done_ < kSteps.size(); ++done_) {
    auto taken = take(done_);
    if (taken) continue;
    Error error = std::move(taken.error());
    const std::string_view name = kSteps[done_].name;
    // The failed step may have got half way: its undo finds out.
    for (const std::string& left : undo_from(done_ + 1)) error.message += "; also: " + left;
    return wrap(std::move(error), "start failed at \"" + std::string(name) + "\"");
  }
  return {};
}

std::vector<std::string> Lifecycle::undo_from(std::size_t count) {
  std::vector<std::string> problems;
  const auto capability = raised();
  for (; count > 0; --count) {
    const Step& step = kSteps[count - 1];
    if (auto undone = (this->*step.undo)(); !undone) {
      problems.push_back("taking back \"" + std::string(step.name) +
                         "\": " + undone.error().message);
    }
  }
  done_ = 0;
  return problems;
}

Result<> Lifecycle::down() {
  if (done_ == kSteps.size()) {
    const auto capability = raised();
    // What was opened since cut_off(); without a killswitch there may be some.
    if (auto cut = destroy_captured(); !cut)
      warn("connections may be left: " + cut.error().message);
  }
  const auto problems = undo_from(done_);
  if (problems.empty()) return {};
  std::string all;
  for (const auto& problem : problems) all += (all.empty() ? "" : "; ") + problem;
  return fail(Code::System, all + "; run `proxyvpn down` again");
}

void Lifecycle::cut_off() {
  if (done_ == 0) return;
  const auto capability = raised();
  // Without a killswitch nothing is ever refused, also not for this moment.
  if (plan_.policy.mode == firewall::Mode::Guarded) {
    if (auto done = doors_.firewall->install(shut(plan_.policy)); !done) {
      warn("new connections can't be refused during the teardown: " + done.error().message);
    }
  }
  if (auto cut = destroy_captured(); !cut) {
    warn("open connections can't be cut: " + cut.error().message);
  }
}

Result<> Lifecycle::cut(const std::vector<std::pair<Endpoint, Endpoint>>& flows) {
  const auto capability = raised();
  const Flows only(flows.begin(), flows.end());
  auto cut = destroy_captured(&only);
  if (!cut) return tl::unexpected(std::move(cut.error()));
  return {};
}

// --- steps
// ----------------------------------------------------------------------------------------

Result<> Lifecycle::install_first() {
  touched_ = true;
  auto installed = doors_.firewall->install(plan_.policy);
  // Another one was faster: what is in force is not ours to take back.
  if (!installed && installed.error().code == Code::Busy) touched_ = false;
  return installed;
}

// The keep set is committed together with the killswitch, so that the ssh session we are sitting
// in never misses a packet; what came in between the snapshot and the commit follows at once.
Result<> Lifecycle::raise_killswitch() {
  const auto presence = doors_.firewall->presence();
  if (!presence) return tl::unexpected(presence.error());
  if (*presence == firewall::Presence::Owned) {
    return fail(Code::Busy,
                "another proxyvpn is up in this network namespace: `proxyvpn down` stops it");
  }
  adopted_ = *presence == firewall::Presence::Orphan;
  const auto early = list_sockets(*doors_.sockets);
  if (!early && early.error().code != Code::Unsupported) return tl::unexpected(early.error());
  if (early) {
    keep_inbound(*early, plan_.policy);
  } else {
    warn("this kernel does not list its sockets (" + early.error().message +
         "): connections into this machine that are open now will be cut");
  }
  if (auto installed = install_first(); !installed) return installed;
  auto late = list_sockets(*doors_.sockets);
  if (!late) return {};
  const bool more = early && keep_inbound(*late, plan_.policy);
  earlier_ = std::move(*late);
  return more ? doors_.firewall->install(plan_.policy) : Result<>();
}

Result<> Lifecycle::drop_killswitch() {
  if (!touched_) return {};
  const bool stay_shut = committed_ ? plan_.persist_killswitch : adopted_;
  if (!stay_shut || (committed_ && plan_.policy.mode == firewall::Mode::Open)) {
    auto removed = doors_.firewall->remove();
    if (removed) touched_ = false;
    return removed;
  }
  auto installed = doors_.firewall->install(shut(plan_.policy));
  if (installed) touched_ = false;
  const bool locked = committed_ || was_locked_;
  if (installed && locked) return doors_.routing->add(lock_marker());
  return installed;
}

Result<unsigned> Lifecycle::destroy_captured(const Flows* only) {
  const auto sockets = list_sockets(*doors_.sockets);
  if (!sockets) return tl::unexpected(sockets.error());
  return destroy_captured(*sockets, only);
}

Result<unsigned> Lifecycle::destroy_captured(const MachineSockets& sockets, const Flows* only) {
  unsigned count = 0;
  for (const TcpSocket& socket : captured(sockets, plan_.policy)) {
    if (only != nullptr && only->count({socket.local, socket.remote}) == 0) continue;
    if (auto destroyed = doors_.sockets->destroy(socket); !destroyed) {
      return tl::unexpected(destroyed.error());
    }
    ++count;
  }
  return count;
}

Result<> Lifecycle::cut_earlier_connections() {
  // Not fatal: the stack answers their next packet with RST, it only takes until that packet.
  const auto earlier = std::exchange(earlier_, std::nullopt);
  if (auto cut = earlier ? destroy_captured(*earlier, nullptr) : destroy_captured(); !cut) {
    warn("connections that were open before end at their next packet only: " + cut.error().message);
  }
  return {};
}

Result<> Lifecycle::clear_leftovers() {
  // Of a crashed run, perhaps with other options. The killswitch is in force already.
  const auto locked = is_locked(*doors_.routing);
  was_locked_ = locked && *locked;
  auto removed = doors_.routing->remove_all_of_ours();
  if (!removed) return tl::unexpected(removed.error());
  return add_barrier_routes();
}

Result<> Lifecycle::add_barrier_routes() {
  for (const auto& route : plan_.routing.barrier_routes) {
    if (auto added = doors_.routing->add(route); !added) return added;
  }
  return {};
}

namespace {

// Takes back all of them in reverse order; the first problem is told, the rest is still done.
template <class Object>
Result<> remove_each(netlink::Routing& routing, const std::vector<Object>& objects) {
  Result<> result;
  for (auto it = objects.rbegin(); it != objects.rend(); ++it) {
    if (auto removed = routing.remove(*it); !removed && result) result = removed;
  }
  return result;
}

}  // namespace

Result<> Lifecycle::remove_barrier_routes() {
  return remove_each(*doors_.routing, plan_.routing.barrier_routes);
}

Result<> Lifecycle::add_rules() {
  for (const auto& rule : plan_.routing.rules) {
    if (auto added = doors_.routing->add(rule); !added) return added;
  }
  return {};
}

Result<> Lifecycle::remove_rules() { return remove_each(*doors_.routing, plan_.routing.rules); }

Result<> Lifecycle::make_tun() {
  const std::string& name = plan_.routing.link.name;
  auto made = doors_.create_tun(name, plan_.queues, plan_.offload);
  if (!made) return tl::unexpected(made.error());
  tun_ = std::move(*made);
  netlink::LinkSetup link = plan_.routing.link;
  // A kernel that refused the offload: large packets in place of large segments.
  if (!tun_.offloads.segmentation && link.mtu == netlink::kDefaultMtu) {
    link.mtu = netlink::kMtuWithoutSegmentation;
  }
  if (auto done = doors_.routing->set_up(link); !done) return done;
  const auto snapshot = doors_.routing->snapshot();
  if (!snapshot) return tl::unexpected(snapshot.error());
  tun_index_ = index_of(*snapshot, name);
  return {};
}

Result<> Lifecycle::remove_tun() {
  if (tun_.queues.empty()) return {};  // a device of this name is not ours
  tun_ = {};
  // It goes with its last descriptor; a worker that is being killed may still hold one.
  return doors_.routing->remove_tun(plan_.routing.link.name);
}

Result<> Lifecycle::add_device_routes() {
  for (const auto& route : plan_.routing.device_routes) {
    if (auto added = doors_.routing->add(route); !added) return added;
  }
  return {};
}

Result<> Lifecycle::remove_device_routes() {
  return remove_each(*doors_.routing, plan_.routing.device_routes);
}

// --- while up
// -------------------------------------------------------------------------------------

Result<> Lifecycle::apply_policy(firewall::Policy policy) {
  // Never computed anew: an application that connects from a port it also listens on would look
  // like an inbound session and get out.
  policy.keep = plan_.policy.keep;
  if (policy == plan_.policy) return {};
  const auto capability = raised();
  if (auto installed = doors_.firewall->install(policy); !installed) return installed;
  plan_.policy = std::move(policy);
  return {};
}

Result<bool> Lifecycle::heal_firewall() {
  const auto capability = raised();
  const auto intact = doors_.firewall->intact();
  if (intact && *intact) return false;
  if (auto installed = doors_.firewall->install(plan_.policy); !installed) {
    return tl::unexpected(installed.error());
  }
  return true;
}

Result<bool> Lifecycle::heal_routing() {
  const auto capability = raised();
  const auto complete = doors_.routing->complete(plan_.routing);
  if (complete && *complete) return false;
  // In the order of bring-up: the barrier stands before a rule points at it.
  if (auto added = add_barrier_routes(); !added) return tl::unexpected(added.error());
  if (auto added = add_rules(); !added) return tl::unexpected(added.error());
  if (auto set_up = doors_.routing->set_up(plan_.routing.link); !set_up) {
    return tl::unexpected(set_up.error());
  }
  if (auto added = add_device_routes(); !added) return tl::unexpected(added.error());
  return true;
}

bool Lifecycle::has_tun(const netlink::Snapshot& snapshot) const noexcept {
  return tun_index_ != 0 && index_of(snapshot, plan_.routing.link.name) == tun_index_;
}

Result<> Lifecycle::renew_tun() {
  const auto capability = raised();
  tun_ = {};
  if (auto made = make_tun(); !made) return made;
  return add_device_routes();
}

}  // namespace proxyvpn::app
