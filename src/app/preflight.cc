#include "app/preflight.h"

#include <cstring>

#include "app/file_mode.h"
#include "app/missing_capability.h"

// What this process may do and what this kernel can do.
namespace proxyvpn::app {
namespace {

// netdev egress hook: CONFIG_NETFILTER_EGRESS.
constexpr KernelVersion kEgressHook{5, 16};
// Below this many descriptors a worker refuses flows that an ordinary desktop opens.
constexpr rlim_t kFewDescriptors = 4096;

// What is wrong with the node, and what to do.
struct TunTrouble {
  std::string finding;
  std::string advice;
};

TunTrouble no_access(const TunNode& node, const CapabilityFacts& who) {
  if ((node.mode & 0666) == 0666 || who.euid == 0) {
    return {"/dev/net/tun cannot be opened (" + std::string(std::strerror(node.sys_errno)) +
                ") although its mode is " + mode_text(node.mode) +
                ": a container's device list forbids it",
            "start it with --device /dev/net/tun"};
  }
  return {"/dev/net/tun cannot be opened by user " + std::to_string(who.euid) + ": its mode is " +
              mode_text(node.mode) + " and it belongs to user " + std::to_string(node.owner),
          "most systems have 0666 (sudo chmod 0666 /dev/net/tun, the kernel asks for the "
          "capability anyway), or run proxyvpn with sudo"};
}

TunTrouble explain(const TunNode& node, const CapabilityFacts& who) {
  switch (node.state) {
    case TunNode::State::Usable:
      return {};
    case TunNode::State::Missing:
      return {"there is no /dev/net/tun",
              "load the kernel module (sudo modprobe tun), or start the container with --device "
              "/dev/net/tun"};
    case TunNode::State::NoAccess:
      return no_access(node, who);
    case TunNode::State::NoDriver:
      return {"/dev/net/tun is there, but the kernel has no driver behind it",
              "load the module (sudo modprobe tun), or use a kernel with CONFIG_TUN"};
    case TunNode::State::Failed:
      return {"/dev/net/tun cannot be opened: " + std::string(std::strerror(node.sys_errno)), {}};
  }
  return {};
}

// What only matters for doing it does not stop a --dry-run.
CheckState blocking(const Config& config) {
  return config.dry_run ? CheckState::Warn : CheckState::Fail;
}

std::string version_text(const KernelVersion& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

Findings to_findings(const Checks& checks) {
  Findings findings;
  for (const auto& check : checks.all()) {
    if (check.state == CheckState::Fail) findings.errors.push_back(sentence(check));
    if (check.state == CheckState::Warn) findings.warnings.push_back(sentence(check));
  }
  return findings;
}

}  // namespace

void check_process(const Config& config, const HostFacts& facts, Checks& checks) {
  if (auto missing = missing_capability(facts.capability)) {
    checks.add(
        {"capability", blocking(config), std::move(missing->finding), std::move(missing->advice)});
  } else {
    checks.ok("capability", facts.capability.euid == 0 && !facts.capability.file_capability
                                ? "CAP_NET_ADMIN, as root"
                                : "CAP_NET_ADMIN, from the file " + facts.capability.executable);
  }
  if (facts.tun_node.state == TunNode::State::Usable) {
    checks.ok("tun-device",
              "/dev/net/tun can be opened (mode " + mode_text(facts.tun_node.mode) + ")");
  } else {
    auto trouble = explain(facts.tun_node, facts.capability);
    checks.add(
        {"tun-device", blocking(config), std::move(trouble.finding), std::move(trouble.advice)});
  }
}

void check_firewall(const Config& config, const HostFacts& facts, Checks& checks) {
  if (!facts.firewall_error) {
    checks.ok("firewall", "rules are set with " + facts.firewall_name);
  } else if (!facts.capability.permitted) {
    // The packet filter refuses to answer: one sentence is enough.
    checks.skip("firewall", "the packet filter answers nobody without CAP_NET_ADMIN");
  } else {
    checks.add({"firewall", blocking(config),
                "no packet filter can be used: " + facts.firewall_error->message,
                kPacketFilterAdvice});
  }
}

void check_instance(const Config& config, const HostFacts& facts, Checks& checks) {
  if (facts.other_instance) {
    checks.add(
        {"instance", blocking(config),
         "another proxyvpn is running (process " + std::to_string(*facts.other_instance) + ")",
         "stop it first: proxyvpn down"});
    return;
  }
  switch (facts.firewall_presence) {
    case firewall::Presence::Owned:
      checks.add({"instance", blocking(config),
                  "another proxyvpn is running in this network namespace: it owns the nftables "
                  "table 'proxyvpn'",
                  "stop it first: proxyvpn down"});
      return;
    case firewall::Presence::Absent:
    case firewall::Presence::Orphan:  // of a crashed run: adopted, without ever opening
    case firewall::Presence::Ours:
      checks.ok("instance", "no other proxyvpn is running");
      return;
  }
}

void check_limits(const Config& config, const HostFacts& facts, Checks& checks) {
  const bool known = facts.kernel != KernelVersion{};
  if (config.egress_guard && known && facts.kernel < kEgressHook) {
    checks.fail("egress-guard",
                "--egress-guard needs Linux 5.16 or later, this is " + version_text(facts.kernel),
                "leave the option out");
  } else if (config.egress_guard) {
    checks.ok("egress-guard", "Linux " + version_text(facts.kernel) + " has the egress hook");
  }
  const auto limit = std::to_string(facts.descriptors_hard);
  if (facts.descriptors_hard != 0 && facts.descriptors_hard < kFewDescriptors) {
    checks.warn("descriptors",
                "this process may have " + limit +
                    " descriptors only, so about as many connections per worker",
                "raise the limit (ulimit -Hn, LimitNOFILE=)");
  } else {
    checks.ok("descriptors", limit + " descriptors per process");
  }
}

Findings preflight(const Config& config, const HostFacts& facts) {
  Checks checks;
  check_process(config, facts, checks);
  check_firewall(config, facts, checks);
  check_instance(config, facts, checks);
  check_limits(config, facts, checks);
  if (facts.network_error) {
    checks.fail("network",
                "the machine's network cannot be looked at: " + facts.network_error->message);
  } else {
    // Another daemon's device and table are no reason to choose other names: it has to go.
    const bool another =
        facts.other_instance || facts.firewall_presence == firewall::Presence::Owned;
    if (!another) check_free(config, facts, checks);
    check_network(config, facts, checks);
  }
  check_resolvers(config, facts, checks);
  return to_findings(checks);
}

Findings check_proxies(const Config& config, const HostFacts& facts,
                       const std::vector<Endpoint>& proxies) {
  Checks checks;
  check_proxies(config, facts, proxies, checks);
  return to_findings(checks);
}

}  // namespace proxyvpn::app
