#include "app/doctor_running.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "netlink/plan.h"
#include "probe/report.h"

namespace proxyvpn::app {
namespace {

constexpr const char* kStartAgain = "if it stays so: proxyvpn down, and up again";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// The number behind a word: "lookup 28790", "fwmark 0x20000000/0x30000000".
std::optional<std::uint32_t> number_behind(std::string_view line, std::string_view word) {
  const auto at = line.find(word);
  if (at == std::string_view::npos) return std::nullopt;
  auto digits = line.substr(at + word.size());
  const bool hex = digits.starts_with("0x");
  if (hex) digits.remove_prefix(2);
  std::uint32_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
  if (error != std::errc{} || end == digits.data()) return std::nullopt;
  return value;
}

// Which of our rules are there. The table behind ours (T+1) holds the way back to this machine.
struct RuleKinds {
  bool capture = false;   // what goes through the proxy, into table T
  bool reset = false;     // the same, when T has no way: to this machine, which answers RST
  bool barrier = false;   // the same, when neither has one: refused
  bool fallback = false;  // whatever `main` has no route for, into T
  [[nodiscard]] bool all() const { return capture && reset && barrier && fallback; }
  [[nodiscard]] bool none() const { return !capture && !reset && !barrier && !fallback; }
};

RuleKinds kinds_of(const std::vector<std::string>& rules, std::optional<std::uint32_t> table) {
  RuleKinds kinds;
  for (const auto& rule : rules) {
    if (!netlink::is_ours(rule)) continue;
    const auto looked_up = number_behind(rule, " lookup ");
    if (contains(rule, " not ")) {
      kinds.fallback = true;
    } else if (contains(rule, "unreachable")) {
      kinds.barrier = true;
    } else if (looked_up) {
      (looked_up == table ? kinds.capture : kinds.reset) = true;
    }
  }
  return kinds;
}

std::string missing_text(const RuleKinds& kinds) {
  std::string text;
  const auto add = [&](bool there, const char* what) {
    if (!there) text += std::string(text.empty() ? "" : ", ") + what;
  };
  add(kinds.capture, "the one that leads marked packets into our table");
  add(kinds.reset, "the one that answers them when there is no TUN");
  add(kinds.barrier, "the one that refuses them when there is no way");
  add(kinds.fallback, "the one behind `main`");
  return text;
}

void check_rules(const RunningFacts& facts, const std::vector<std::string>& rules,
                 const char* family, const std::string& name, Checks& checks) {
  const auto kinds = kinds_of(rules, find_our_rules(facts.network).table);
  if (kinds.all()) {
    checks.ok(name, std::string("the four ") + family + " policy rules are there");
    return;
  }
  const std::string finding =
      kinds.none() ? std::string("no ") + family + " policy rule of ours is there"
                   : std::string(family) + " policy rules are missing: " + missing_text(kinds);
  checks.fail(name, finding,
              facts.daemon.found
                  ? std::string("another program removed them, and they are put back within a "
                                "second; ") +
                        kStartAgain
                  : std::string(kStartAgain));
}

// IPv6 routes carry a preference (RFC 4191), IPv4 ones none.
bool is_v6_route(std::string_view route) { return contains(route, " pref "); }

void check_routes(const RunningFacts& facts, bool six, bool device_wanted, Checks& checks) {
  bool barrier = false;
  bool device = false;
  const std::string dev = " dev " + facts.tun_name + " ";
  for (const auto& route : facts.network.routes) {
    if (!netlink::is_ours(route) || is_v6_route(route) != six) continue;
    barrier = barrier || route.starts_with("local default dev lo ");
    device = device || (route.starts_with("default") && contains(route, dev));
  }
  const std::string name = six ? "routes6" : "routes";
  const std::string family = six ? "IPv6" : "IPv4";
  if (barrier && (device || !device_wanted)) {
    checks.ok(name,
              family + (device ? ": default into " + facts.tun_name + ", and a way back behind it"
                               : ": refused, as IPv6 is not proxied"));
    return;
  }
  const std::string which = !barrier && !device ? "both our routes"
                            : barrier           ? "the default route into " + facts.tun_name
                                                : "the way back to this machine behind the default";
  checks.fail(name, family + ": " + which + " missing: what is captured is refused", kStartAgain);
}

const netlink::LinkInfo* find_tun(const RunningFacts& facts) {
  const auto it = std::find_if(facts.network.links.begin(), facts.network.links.end(),
                               [&](const auto& link) { return link.name == facts.tun_name; });
  return it == facts.network.links.end() ? nullptr : &*it;
}

// True when the device has an IPv6 address, so that IPv6 is proxied.
bool check_tun(const RunningFacts& facts, Checks& checks) {
  const auto* link = find_tun(facts);
  if (link == nullptr || link->kind != "tun") {
    checks.fail("tun",
                link == nullptr ? "there is no device " + facts.tun_name
                                : facts.tun_name + " is no TUN device but " + link->kind,
                kStartAgain);
    return false;
  }
  bool six = false;
  std::string addresses;
  for (const auto& address : facts.network.addresses) {
    if (address.link != link->index) continue;
    six = six || (address.cidr.address.is_v6() && !address.cidr.address.is_link_local());
    addresses += (addresses.empty() ? "" : ", ") + to_string(address.cidr);
  }
  if (!link->up || addresses.empty()) {
    checks.fail("tun", facts.tun_name + (link->up ? " has no address" : " is down"), kStartAgain);
  } else {
    checks.ok("tun", facts.tun_name + " is up, " + addresses);
  }
  return six;
}

void check_table(const RunningFacts& facts, Checks& checks) {
  const std::string name = "killswitch-table";
  if (!facts.table) {
    checks.skip(name, "the packet filter's table was not looked at: " + facts.table_problem,
                "run doctor as root to have it looked at");
    return;
  }
  const auto& table = *facts.table;
  const std::string what = std::to_string(table.rules) + " rules in " +
                           std::to_string(table.chains_with_hook) + " chains";
  if (!table.present) {
    checks.fail(name, "the table 'proxyvpn' is not there: nothing is captured and nothing refused",
                kStartAgain);
  } else if (table.rules == 0 || table.chains_with_hook == 0) {
    checks.fail(name, "the table 'proxyvpn' has " + what + ": it was emptied", kStartAgain);
  } else {
    checks.ok(name, "the table 'proxyvpn' is there, with " + what +
                        (table.owned ? ", closed to other programs" : ""));
  }
}

void check_daemon(const RunningFacts& facts, Checks& checks) {
  const auto& daemon = facts.daemon;
  if (!daemon.found) {
    checks.fail(
        "daemon",
        daemon.problem.empty() ? "a proxyvpn is up, and its control socket is not found"
                               : daemon.problem,
        "is --state-dir right? When it does not answer, proxyvpn down ends it all the same");
    return;
  }
  checks.ok("daemon", "process " + std::to_string(daemon.pid) + " answers");
  if (daemon.flows) {
    checks.ok("state", daemon.state);
  } else {
    const std::string why = !daemon.trouble.empty() ? "the proxy " + daemon.trouble : daemon.detail;
    checks.fail("state", daemon.state + (why.empty() ? "" : ": " + why),
                "see the checks of the proxy; as soon as it answers, traffic flows again");
  }
  const std::string workers =
      std::to_string(daemon.workers) + " of " + std::to_string(daemon.workers_wanted);
  if (daemon.workers < daemon.workers_wanted) {
    checks.warn("workers", workers + " workers run", "the log says why one ended");
  } else {
    checks.ok("workers", workers + " run");
  }
  if (daemon.killswitch) {
    checks.ok("killswitch", "on: what does not go through the proxy is refused");
  } else {
    checks.warn("killswitch", "off: UDP goes direct, and without the daemon everything does",
                "leave --no-killswitch out to have it on");
  }
}

void check_tunnel(const TunnelProbe& probe, Checks& checks) {
  const std::string name = "tunnel-" + std::to_string(probe.port);
  if (!probe.error) {
    checks.ok(name, "connected to " + probe.target + " in " +
                        probe::to_string(probe::Microseconds(probe.microseconds)));
    return;
  }
  std::string advice = "proxyvpn up --verbose shows what the proxy answers";
  if (probe.error->sys_errno == ENETUNREACH) {
    advice = "the proxy cannot be reached, or refuses the credentials: see `state`";
  } else if (probe.error->sys_errno == EHOSTUNREACH || probe.error->code == Code::Timeout) {
    advice = "the proxy forbids this port, or did not reach the target in time";
  } else if (probe.error->sys_errno == ECONNREFUSED) {
    advice = "the proxy could not reach the target: is it up? Name another with --target";
  }
  const auto state = probe.port == 443 ? CheckState::Fail : CheckState::Warn;
  checks.add({name, state, probe.error->message, std::move(advice)});
}

void check_refused(const RefusalProbe& probe, bool killswitch, Checks& checks) {
  switch (probe.report.outcome) {
    case probe::Refusal::AtOnce:
      checks.ok(probe.name, probe.target + " is refused at once (" +
                                std::strerror(probe.report.sys_errno) +
                                "), a test that the killswitch works");
      return;
    case probe::Refusal::Answered:
    case probe::Refusal::Silent:
      break;
  }
  const std::string finding =
      "a datagram to " + probe.target +
      (probe.report.outcome == probe::Refusal::Answered ? " was answered" : " was not refused");
  if (killswitch) {
    checks.fail(probe.name, finding + ": the killswitch does not hold",
                "proxyvpn down, and up again; report it with `nft list ruleset`");
  } else {
    checks.warn(probe.name, finding + ", as the killswitch is off");
  }
}

// Whoever else sends at the same time is counted as well, so more than the probes is no fault.
void check_counts(const RunningFacts& facts, Checks& checks) {
  const bool connected = std::any_of(facts.tunnel.begin(), facts.tunnel.end(),
                                     [](const TunnelProbe& probe) { return !probe.error; });
  if (facts.counted_flows && connected) {
    if (*facts.counted_flows == 0) {
      checks.fail("tunnel-counted",
                  "connections were made, and the daemon carried none: they went around it",
                  kStartAgain);
    } else {
      checks.ok("tunnel-counted",
                "the daemon carried " + std::to_string(*facts.counted_flows) + " connections");
    }
  }
  if (!facts.counted_refused || facts.refused.empty() || !facts.daemon.killswitch) return;
  if (*facts.counted_refused == 0) {
    checks.fail("refused-counted",
                "the killswitch counted no packet: what was refused, another firewall refused",
                kStartAgain);
  } else {
    checks.ok("refused-counted",
              "the killswitch counted " + std::to_string(*facts.counted_refused) + " packets");
  }
}

void check_not_up(const RunningFacts& facts, Checks& checks) {
  if (facts.locked) {
    checks.warn("daemon", "none runs, and this machine was shut on purpose: nothing goes out",
                "proxyvpn up, or proxyvpn unlock to open it");
  } else if (facts.shut) {
    checks.fail("daemon",
                "none runs, and what a crashed run left behind keeps this machine shut: nothing "
                "goes out",
                "proxyvpn up goes on where it was, proxyvpn down opens the machine");
  } else {
    checks.skip("daemon", "proxyvpn is not up: there is nothing in force to look at");
  }
}

}  // namespace

OurRules find_our_rules(const netlink::Snapshot& network) {
  OurRules found;
  for (const auto* rules : {&network.rules, &network.rules_v6}) {
    for (const auto& rule : *rules) {
      if (!netlink::is_ours(rule)) continue;
      found.any = true;
      // Ours is the smaller of two tables.
      const auto table = number_behind(rule, " lookup ");
      if (table && (!found.table || *table < *found.table)) found.table = table;
      if (contains(rule, " not ")) found.bypass = number_behind(rule, " fwmark ");
    }
  }
  return found;
}

Checks check_running(const RunningFacts& facts) {
  Checks checks;
  if (!facts.up) {
    check_not_up(facts, checks);
    return checks;
  }
  check_daemon(facts, checks);
  check_table(facts, checks);
  check_rules(facts, facts.network.rules, "IPv4", "our-rules", checks);
  if (facts.network.has_ipv6) {
    check_rules(facts, facts.network.rules_v6, "IPv6", "our-rules6", checks);
  }
  const bool six = check_tun(facts, checks);
  check_routes(facts, false, true, checks);
  if (facts.network.has_ipv6) check_routes(facts, true, six, checks);
  for (const auto& probe : facts.tunnel) check_tunnel(probe, checks);
  for (const auto& probe : facts.refused) {
    check_refused(probe, facts.daemon.killswitch, checks);
  }
  check_counts(facts, checks);
  return checks;
}

}  // namespace proxyvpn::app
