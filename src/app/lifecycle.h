#pragma once
// Bring-up and teardown of what proxyvpn changes on the machine, as ordered steps that can each be
// taken back. The killswitch comes first and goes last. Every step is safe to be killed after, and
// every undo works from the kernel's state. Nothing here waits; nothing here knows of workers.
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "firewall/firewall.h"
#include "firewall/policy.h"
#include "netlink/plan.h"
#include "netlink/routing.h"
#include "netlink/sock_diag.h"
#include "tun/tun_device.h"

namespace proxyvpn::app {

// The doors to the machine. Nothing is owned but what `raise` answers.
struct HostDoors {
  firewall::Firewall* firewall = nullptr;
  netlink::Routing* routing = nullptr;
  netlink::SocketDiag* sockets = nullptr;
  std::function<Result<tun::TunQueues>(const std::string& name, unsigned queues, bool offload)>
      create_tun;
  // Raises the capability for as long as the answer lives; may be empty (tests).
  std::function<std::shared_ptr<void>()> raise;
};

// What the machine shall look like while we are up.
struct HostPlan {
  firewall::Policy policy;  // `keep` is filled by the lifecycle
  netlink::RoutingPlan routing;
  unsigned queues = 1;  // of the TUN device
  bool offload = true;
  bool persist_killswitch = false;  // taking back the killswitch leaves the machine shut
};

// The same policy as lockdown (firewall::Mode::Shut).
firewall::Policy shut(firewall::Policy policy);

// A route that nothing looks up, in our table: it says that the machine was shut on purpose
// (--persist-killswitch, `lock`) and not by a crash, so that `down` leaves it shut and only
// `unlock` opens it. In the kernel, because no file is needed to know.
netlink::Route lock_marker();
Result<bool> is_locked(netlink::Routing& routing);

// The machine's own TCP connections, and those of them that came in from outside.
struct MachineSockets {
  std::vector<netlink::TcpSocket> connected;
  std::vector<netlink::TcpSocket> inbound;
};
Result<MachineSockets> list_sockets(netlink::SocketDiag& door);

// Puts the sessions from outside into the keep set. True: there were some that were not in it.
bool keep_inbound(const MachineSockets& sockets, firewall::Policy& policy);

// Connected sockets whose traffic goes (or would go) through the TUN: outbound, not ours, not
// direct by policy.
std::vector<netlink::TcpSocket> captured(const MachineSockets& sockets,
                                         const firewall::Policy& policy);

class Lifecycle {
 public:
  // Called with the number (from 1) and name of a step: `before` it is taken, `after` it succeeded.
  // An error from `after` counts as a failure of the step.
  struct Hooks {
    std::function<void(int, std::string_view)> before;
    std::function<Result<>(int, std::string_view)> after;
    std::function<void(const std::string&)> warn;  // a sentence for the person
  };

  Lifecycle(HostDoors doors, HostPlan plan, Hooks hooks = {});

  // Takes every step in order. When one fails, it and those before it are taken back in reverse
  // order; the error says which step failed and what could not be taken back.
  Result<> up();
  // New flows are refused from now on, captured connections are cut (each gets an error). Called
  // while the data plane still runs, so that forwarded flows can be reset by it.
  void cut_off();
  // Cuts those of these connections (application, target) that are captured: whoever names them may
  // be wrong or lie.
  Result<> cut(const std::vector<std::pair<Endpoint, Endpoint>>& flows);
  // Takes everything back in reverse order. The data plane must be gone. Goes on after a failure;
  // the error names all that could not be taken back. Can be called again.
  Result<> down();

  [[nodiscard]] bool is_up() const noexcept { return done_ == kSteps.size(); }
  // The daemon is up for good. Before that, taking the killswitch back restores what was found: a
  // machine that a crashed run left shut stays shut.
  void commit() noexcept { committed_ = true; }
  [[nodiscard]] const HostPlan& plan() const noexcept { return plan_; }
  [[nodiscard]] tun::TunQueues& tun() noexcept { return tun_; }
  // True when up() found a killswitch of a crashed run in force.
  [[nodiscard]] bool adopted() const noexcept { return adopted_; }
  // True when the machine had been shut on purpose.
  [[nodiscard]] bool was_locked() const noexcept { return was_locked_; }
  [[nodiscard]] static int step_count() noexcept { return static_cast<int>(kSteps.size()); }

  // Replaces the policy in force, keeping what was up before us alive. No change is no call.
  Result<> apply_policy(firewall::Policy policy);
  // What the monitors call. True: something was missing and is there again.
  Result<bool> heal_firewall();
  Result<bool> heal_routing();
  // False: the device of our name is gone or is another than the one that we made.
  [[nodiscard]] bool has_tun(const netlink::Snapshot& snapshot) const noexcept;
  // Makes a new device and points the routes at it. The data plane must be started anew.
  Result<> renew_tun();

 private:
  struct Step {
    std::string_view name;
    Result<> (Lifecycle::*apply)();
    Result<> (Lifecycle::*undo)();
  };
  Result<> raise_killswitch();
  Result<> install_first();
  Result<> drop_killswitch();
  Result<> cut_earlier_connections();
  Result<> clear_leftovers();
  Result<> add_barrier_routes();
  Result<> remove_barrier_routes();
  Result<> add_rules();
  Result<> remove_rules();
  Result<> make_tun();
  Result<> remove_tun();
  Result<> add_device_routes();
  Result<> remove_device_routes();
  Result<> nothing() { return {}; }

  Result<> take(std::size_t index);
  std::vector<std::string> undo_from(std::size_t count);
  using Flows = std::set<std::pair<Endpoint, Endpoint>>;
  Result<unsigned> destroy_captured(const Flows* only = nullptr);
  Result<unsigned> destroy_captured(const MachineSockets& sockets, const Flows* only);
  [[nodiscard]] std::shared_ptr<void> raised() const;
  void warn(const std::string& sentence) const;

  static const std::vector<Step> kSteps;
  HostDoors doors_;
  HostPlan plan_;
  Hooks hooks_;
  std::size_t done_ = 0;  // steps taken and not taken back
  tun::TunQueues tun_;
  std::uint32_t tun_index_ = 0;
  bool was_locked_ = false;
  bool touched_ = false;  // a killswitch of ours may be in force
  bool adopted_ = false;
  bool committed_ = false;
  // Listed when the killswitch was in force: what the next step has to cut.
  std::optional<MachineSockets> earlier_;
};

}  // namespace proxyvpn::app
