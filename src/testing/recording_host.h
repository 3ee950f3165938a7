#pragma once
// Doubles of the machine for tests of what changes it: small working models that write down, in
// order and in `ip`/`nft` words, what was done. Any call can be told to fail.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "firewall/firewall.h"
#include "netlink/plan.h"
#include "netlink/routing.h"
#include "netlink/sock_diag.h"

namespace proxyvpn::testing {

// What happened, shared by all doubles of one test. A line that is in `fail_on` fails instead.
struct Journal {
  std::vector<std::string> lines;
  std::set<std::string> fail_on;
  Result<> note(const std::string& line) {
    if (fail_on.count(line) != 0) {
      lines.push_back(line + " (failed)");
      return fail_errno(EPERM, line);
    }
    lines.push_back(line);
    return {};
  }
};

class RecordingFirewall final : public firewall::Firewall {
 public:
  explicit RecordingFirewall(Journal& journal) : journal_(journal) {}
  std::string name() const override { return "recording"; }
  Result<> install(const firewall::Policy& policy) override {
    if (auto noted = journal_.note("nft install " + to_word(policy.mode)); !noted) return noted;
    installed = policy;
    found = firewall::Presence::Ours;
    return {};
  }
  Result<> remove() override {
    if (auto noted = journal_.note("nft remove"); !noted) return noted;
    installed.reset();
    found = firewall::Presence::Absent;
    return {};
  }
  Result<firewall::Presence> presence() override { return found; }
  Result<bool> intact() override { return whole && installed.has_value(); }
  Result<std::vector<firewall::Counter>> counters() override { return counted; }
  int monitor_fd() const noexcept override { return -1; }
  bool drain_monitor() noexcept override { return false; }

  static std::string to_word(firewall::Mode mode) {
    switch (mode) {
      case firewall::Mode::Open:
        return "open";
      case firewall::Mode::Guarded:
        return "guarded";
      case firewall::Mode::Shut:
        return "shut";
    }
    return "?";
  }
  std::optional<firewall::Policy> installed;
  firewall::Presence found = firewall::Presence::Absent;
  bool whole = true;
  std::vector<firewall::Counter> counted;

 private:
  Journal& journal_;
};

class RecordingRouting final : public netlink::Routing {
 public:
  explicit RecordingRouting(Journal& journal) : journal_(journal) {}
  Result<> add(const netlink::Route& route) override {
    return put(prefix(route.family) + netlink::to_string(route));
  }
  Result<> remove(const netlink::Route& route) override {
    return take(prefix(route.family) + netlink::to_string(route));
  }
  Result<> add(const netlink::PolicyRule& rule) override {
    return put(prefix(rule.family) + netlink::to_string(rule));
  }
  Result<> remove(const netlink::PolicyRule& rule) override {
    return take(prefix(rule.family) + netlink::to_string(rule));
  }
  Result<> set_up(const netlink::LinkSetup& link) override {
    last_link = link;
    return journal_.note("link up " + link.name);
  }
  Result<> remove_tun(const std::string& name) override {
    return journal_.note("link del " + name);
  }
  Result<unsigned> remove_all_of_ours() override {
    if (auto noted = journal_.note("remove all of ours"); !noted) {
      return tl::unexpected(noted.error());
    }
    const auto count = static_cast<unsigned>(objects.size());
    objects.clear();
    return count;
  }
  Result<bool> complete(const netlink::RoutingPlan& plan) override {
    bool all = true;
    const auto check = [&](const auto& wanted) {
      for (const auto& one : wanted) {
        all = all && objects.count(prefix(one.family) + netlink::to_string(one)) != 0;
      }
    };
    check(plan.barrier_routes);
    check(plan.rules);
    check(plan.device_routes);
    return all;
  }
  Result<netlink::Snapshot> snapshot() override { return state; }

  std::set<std::string> objects;  // rules and routes that are there
  netlink::LinkSetup last_link;
  netlink::Snapshot state;

 private:
  static std::string prefix(Family family) { return family == Family::V6 ? "-6 " : ""; }
  Result<> put(const std::string& object) {
    if (auto noted = journal_.note("add " + object); !noted) return noted;
    objects.insert(object);
    return {};
  }
  Result<> take(const std::string& object) {
    if (auto noted = journal_.note("del " + object); !noted) return noted;
    objects.erase(object);
    return {};
  }
  Journal& journal_;
};

class RecordingSocketDiag final : public netlink::SocketDiag {
 public:
  explicit RecordingSocketDiag(Journal& journal) : journal_(journal) {}
  Result<std::vector<netlink::TcpSocket>> connected() override {
    ++looks;
    if (looks == 2) open.insert(open.end(), late.begin(), late.end());
    return open;
  }
  Result<std::vector<Endpoint>> listeners() override { return listening; }
  Result<> destroy(const netlink::TcpSocket& socket) override {
    const std::string line = "destroy " + to_string(socket.local) + " " + to_string(socket.remote);
    if (auto noted = journal_.note(line); !noted) return noted;
    open.erase(std::remove_if(open.begin(), open.end(),
                              [&](const netlink::TcpSocket& other) {
                                return other.local == socket.local && other.remote == socket.remote;
                              }),
               open.end());
    return {};
  }
  std::vector<netlink::TcpSocket> open;
  std::vector<netlink::TcpSocket> late;  // come between the first and the second look
  std::vector<Endpoint> listening;
  int looks = 0;

 private:
  Journal& journal_;
};

}  // namespace proxyvpn::testing
