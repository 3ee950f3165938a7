#pragma once
// A Routing without a kernel: writes down what was asked in `ip` syntax, keeps the objects, and
// fails where it is told to.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "netlink/routing.h"

namespace proxyvpn::testing {

class RecordingRouting final : public netlink::Routing {
 public:
  // What changed something or tried to, in order: "ip route add ...", "ip rule del ...", "ip link
  // set up tun0", "remove all of ours". A step that fails stands there too.
  std::vector<std::string> texts;
  // The step (from 0, as in `texts`) that fails with `failure`; nothing is changed by it.
  std::optional<std::size_t> fail_at;
  Error failure{Code::System, EIO, "told to fail"};
  // Answers of this object to an IPv6 object, as on a kernel without it.
  bool has_ipv6 = true;

  // The state: what was added and not removed.
  std::vector<netlink::Route> routes;
  std::vector<netlink::PolicyRule> rules;
  std::vector<netlink::LinkSetup> links;
  // What snapshot() gives.
  netlink::Snapshot facts;
  // How often complete() was asked, for tests of how often the supervisor looks.
  unsigned complete_calls = 0;

  Result<> add(const netlink::Route& route) override {
    return change(to_command(route), route.family, [&] { insert(routes, route); });
  }
  Result<> remove(const netlink::Route& route) override {
    return change(deletion(to_command(route)), {}, [&] { erase(routes, route); });
  }
  Result<> add(const netlink::PolicyRule& rule) override {
    return change(to_command(rule), rule.family, [&] { insert(rules, rule); });
  }
  Result<> remove(const netlink::PolicyRule& rule) override {
    return change(deletion(to_command(rule)), {}, [&] { erase(rules, rule); });
  }
  Result<> set_up(const netlink::LinkSetup& link) override {
    return change("ip link set up " + link.name, {}, [&] { insert(links, link); });
  }
  // A device that goes takes its routes along, as in the kernel.
  Result<> remove_tun(const std::string& name) override {
    return change("ip link del " + name, {}, [&] {
      links.erase(std::remove_if(links.begin(), links.end(),
                                 [&](const auto& link) { return link.name == name; }),
                  links.end());
      routes.erase(std::remove_if(routes.begin(), routes.end(),
                                  [&](const auto& route) { return route.device == name; }),
                   routes.end());
    });
  }
  Result<unsigned> remove_all_of_ours() override {
    const auto count = static_cast<unsigned>(routes.size() + rules.size());
    auto result = change("remove all of ours", {}, [&] {
      routes.clear();
      rules.clear();
    });
    if (!result) return tl::unexpected(result.error());
    return count;
  }
  Result<bool> complete(const netlink::RoutingPlan& plan) override {
    ++complete_calls;
    return has_all(rules, plan.rules) && has_all(routes, plan.barrier_routes) &&
           has_all(routes, plan.device_routes);
  }
  Result<netlink::Snapshot> snapshot() override { return facts; }

  // True when nothing that was added is left.
  [[nodiscard]] bool empty() const { return routes.empty() && rules.empty() && links.empty(); }

 private:
  static std::string deletion(std::string command) {
    return command.replace(command.find(" add "), 5, " del ");
  }
  template <class T>
  static void insert(std::vector<T>& into, const T& value) {
    if (std::find(into.begin(), into.end(), value) == into.end()) into.push_back(value);
  }
  template <class T>
  static void erase(std::vector<T>& from, const T& value) {
    from.erase(std::remove(from.begin(), from.end(), value), from.end());
  }
  template <class T>
  [[nodiscard]] bool has_all(const std::vector<T>& have, const std::vector<T>& wanted) const {
    return std::all_of(wanted.begin(), wanted.end(), [&](const T& one) {
      return (one.family == Family::V6 && !has_ipv6) ||
             std::find(have.begin(), have.end(), one) != have.end();
    });
  }
  template <class Apply>
  Result<> change(std::string text, std::optional<Family> family, Apply apply) {
    const bool fails = fail_at == texts.size();
    texts.push_back(std::move(text));
    if (fails) return wrap(failure, texts.back());
    if (family == Family::V6 && !has_ipv6)
      return fail(Code::Unsupported, texts.back() + ": Address family not supported by protocol");
    apply();
    return {};
  }
};

}  // namespace proxyvpn::testing
