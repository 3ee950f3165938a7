#include "app/doctor_host.h"

#include <algorithm>
#include <array>

#include "app/preflight.h"
#include "base/hex.h"

namespace proxyvpn::app {
namespace {

// When this was written: no clock that is right shows less.
constexpr std::int64_t kNotBefore = 1'735'689'600;  // 2025-01-01
constexpr std::int64_t kNotBehind = 4'102'444'800;  // 2100-01-01

void check_kernel(const DoctorFacts& facts, Checks& checks) {
  if (facts.kernel.cannot_try.empty()) {
    checks.ok("kernel", "Linux " + facts.release + ", tried in a network namespace of its own");
    return;
  }
  checks.skip("kernel",
              "Linux " + facts.release +
                  "; what it can do was not tried, as no network namespace "
                  "can be made here (" +
                  facts.kernel.cannot_try + ")",
              "run doctor as root to have it tried");
}

// `good` is said with the trial's own words behind it.
void check_trial(const DoctorFacts& facts, std::string_view trial, const std::string& name,
                 const std::string& good, const std::string& bad, const std::string& advice,
                 CheckState state, Checks& checks) {
  const Trial* found = facts.kernel.find(trial);
  if (found == nullptr) {
    checks.skip(name, facts.kernel.cannot_try.empty() ? "not tried: something before it failed"
                                                      : "not tried: no network namespace");
  } else if (found->works) {
    checks.ok(name, good + (found->words.empty() ? "" : " (" + found->words + ")"));
  } else {
    checks.add({name, state, bad + ": " + found->words, advice});
  }
}

void check_table_owner(const DoctorFacts& facts, Checks& checks) {
  const Trial* found = facts.kernel.find(kTrialOwner);
  const std::string name = "nftables-owner";
  if (found == nullptr) {
    checks.skip(name, "not tried");
  } else if (found->works && found->words == "persist") {
    checks.ok(name, "the killswitch's table is closed to other programs and outlives a crash");
  } else {
    checks.ok(name,
              "this kernel cannot keep other programs away from the killswitch's table (Linux 6.9 "
              "can): when one flushes it, it is put back within a second");
  }
}

void check_trials(const DoctorFacts& facts, Checks& checks) {
  check_kernel(facts, checks);
  // A node that cannot be opened is told by tun-device.
  if (facts.host.tun_node.state == TunNode::State::Usable) {
    check_trial(facts, kTrialTun, "tun-driver", "a TUN device with several queues can be made",
                "no TUN device can be made", "use a kernel with CONFIG_TUN", CheckState::Fail,
                checks);
  } else {
    checks.skip("tun-driver", "not tried: see tun-device");
  }
  check_trial(facts, kTrialNftables, "nftables", "the kernel takes the whole rule set",
              "the kernel does not take the rule set", kPacketFilterAdvice, CheckState::Fail,
              checks);
  check_table_owner(facts, checks);
  check_trial(facts, kTrialEgress, "nftables-egress", "--egress-guard can be used",
              "--egress-guard cannot be used", "Linux 5.16 and later can", CheckState::Ok, checks);
  check_trial(facts, kTrialRules4, "policy-routing", "policy rules and routes can be set for IPv4",
              "policy routing does not work", "use a kernel with CONFIG_IP_MULTIPLE_TABLES",
              CheckState::Fail, checks);
  const bool six = facts.host.network.has_ipv6;
  if (six) {
    check_trial(facts, kTrialRules6, "policy-routing6",
                "policy rules and routes can be set for IPv6",
                "policy routing does not work for IPv6",
                "use a kernel with CONFIG_IPV6_MULTIPLE_TABLES, or switch IPv6 off",
                CheckState::Fail, checks);
  }
  check_trial(facts, kTrialDestroy, "sock-destroy", "connections can be cut when it starts",
              "connections that are open when it starts cannot be cut by the kernel",
              "they are reset at their next packet instead; CONFIG_INET_DIAG_DESTROY cuts them at "
              "once",
              CheckState::Warn, checks);
}

void check_back_ends(const DoctorFacts& facts, Checks& checks) {
  std::string have;
  std::string lack;
  for (const auto& command : facts.commands) {
    std::string& list = command.command.empty() ? lack : have;
    list += (list.empty() ? "" : ", ") + command.name;
  }
  checks.ok("firewall-commands",
            (have.empty() ? "no command that sets rules is installed" : "installed: " + have) +
                (lack.empty() ? "" : "; not installed: " + lack) +
                (facts.host.firewall_name == "nftables" ? " (none is needed)" : ""));
}

void check_rp_filter(const DoctorFacts& facts, bool up, Checks& checks) {
  const std::string name = "rp-filter";
  if (up && facts.tun_rp_filter && *facts.tun_rp_filter != 2) {
    checks.fail(name,
                "net.ipv4.conf of the TUN has rp_filter=" + std::to_string(*facts.tun_rp_filter) +
                    ", with which the kernel may drop what comes out of it",
                "set it to 2 (loose), or start proxyvpn again");
  } else if (!facts.rp_filter) {
    checks.skip(name, "net.ipv4.conf.all.rp_filter cannot be read");
  } else {
    checks.ok(name, "net.ipv4.conf.all.rp_filter=" + std::to_string(*facts.rp_filter) +
                        ", and the TUN's own is 2, which counts");
  }
}

// ---- other programs -----------------------------------------------------------------------------

bool is_vpn_link(const netlink::LinkInfo& link, const std::string& tun_name) {
  if (link.name == tun_name) return false;
  static constexpr std::array<std::string_view, 6> names{"wg",  "tailscale", "mullvad",
                                                         "ppp", "nordlynx",  "tun"};
  return link.kind == "wireguard" || link.kind == "tun" ||
         std::any_of(names.begin(), names.end(),
                     [&](std::string_view name) { return link.name.starts_with(name); });
}

void check_vpns(const Config& config, const DoctorFacts& facts, Checks& checks) {
  std::string names;
  for (const auto& link : facts.host.network.links) {
    // A guest's tap device on a bridge is no VPN.
    if (!link.up || link.master != 0 || !is_vpn_link(link, config.tun_name)) continue;
    names +=
        (names.empty() ? "" : ", ") + link.name + (link.kind.empty() ? "" : " (" + link.kind + ")");
  }
  if (names.empty()) {
    checks.ok("other-vpns", "no interface of another VPN is up");
    return;
  }
  checks.warn("other-vpns",
              "interfaces of another VPN are up: " + names +
                  "; what they send over UDP is refused while proxyvpn is up",
              "stop the other VPN, or leave it and expect its networks to be unreachable "
              "(--exclude its networks, --no-killswitch for its UDP)");
}

void check_marks(const Config& config, const DoctorFacts& facts, Checks& checks) {
  const std::string name = "marking-rules";
  if (!facts.marking_rules) {
    checks.skip(name, "whether rules of other programs change our packet marks is not known: " +
                          (facts.marking_error ? facts.marking_error->message : "not read"));
    return;
  }
  std::set<std::string> places;
  for (const auto& rule : *facts.marking_rules) {
    if ((rule.bits & config.marks.mask) == 0) continue;
    places.insert(rule.place + (rule.connection ? " (connection mark, bits " : " (bits ") +
                  hex(rule.bits, 8) + ")");
  }
  if (places.empty()) {
    checks.ok(name, "no nftables rule of another program writes the mark bits " +
                        hex(config.marks.mask, 8));
    return;
  }
  std::string all;
  for (const auto& place : places) all += (all.empty() ? "" : ", ") + place;
  checks.warn(name,
              "nftables rules of other programs write bits of the packet mark that are ours (" +
                  hex(config.marks.mask, 8) + "): " + all,
              "choose others with --mark-mask, --mark-capture and --mark-bypass, or stop that "
              "program");
}

struct Program {
  const char* process;  // in DoctorFacts::programs
  const char* name;     // of the check
  const char* runs;
};
constexpr std::array<Program, 5> kPrograms{{
    {"dockerd", "docker",
     "docker runs: its containers' TCP goes through the proxy, their DNS to allowed resolvers "
     "only"},
    {"firewalld", "firewalld",
     "firewalld runs: its rules are asked as well as ours, and its restart leaves ours alone"},
    {"NetworkManager", "networkmanager",
     "NetworkManager runs: what it takes away of ours is put back within a second"},
    {"systemd-network", "systemd-networkd",
     "systemd-networkd runs: at its restart it takes foreign rules and routes away, which are put "
     "back within a second; ManageForeignRoutingPolicyRules=no and ManageForeignRoutes=no in "
     "networkd.conf stop that"},
    {"systemd-resolve", "systemd-resolved",
     "systemd-resolved runs: the servers behind it are asked directly"},
}};

void check_programs(const DoctorFacts& facts, Checks& checks) {
  for (const auto& program : kPrograms) {
    const bool runs = facts.programs.count(program.process) != 0;
    checks.ok(program.name, runs ? program.runs : "does not run");
  }
}

std::string utc(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  std::array<char, 64> text{};
  if (::gmtime_r(&time, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts) == 0) {
    return std::to_string(seconds);
  }
  return text.data();
}

void check_clock(const DoctorFacts& facts, Checks& checks) {
  if (facts.now < kNotBefore || facts.now > kNotBehind) {
    checks.fail(
        "clock",
        "the clock says " + utc(facts.now) + ", which cannot be: certificates will not be valid",
        "set it (sudo date -s ..., or a time service)");
    return;
  }
  checks.ok("clock", utc(facts.now) + (facts.clock_synchronised
                                           ? ", synchronised"
                                           : ", not synchronised by a time service (NTP over UDP "
                                             "is refused while proxyvpn is up)"));
}

}  // namespace

Checks check_host(const Config& config, const DoctorFacts& facts, bool up) {
  Checks checks;
  check_process(config, facts.host, checks);
  check_trials(facts, checks);
  check_firewall(config, facts.host, checks);
  check_back_ends(facts, checks);
  check_limits(config, facts.host, checks);
  check_clock(facts, checks);
  if (facts.host.network_error) {
    checks.fail("network",
                "the machine's network cannot be looked at: " + facts.host.network_error->message);
  } else {
    if (!up) check_free(config, facts.host, checks);
    check_network(config, facts.host, checks);
    check_rp_filter(facts, up, checks);
    check_vpns(config, facts, checks);
  }
  check_marks(config, facts, checks);
  check_programs(facts, checks);
  check_resolvers(config, facts.host, checks);
  return checks;
}

}  // namespace proxyvpn::app
