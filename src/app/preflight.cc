#include "app/preflight.h"

#include <array>
#include <cstdio>
#include <cstring>

// What this process may do and what this kernel can do.
namespace proxyvpn::app {
namespace {

// netdev egress hook: CONFIG_NETFILTER_EGRESS.
constexpr KernelVersion kEgressHook{5, 16};
// Below this many descriptors a worker refuses flows that an ordinary desktop opens.
constexpr rlim_t kFewDescriptors = 4096;

std::string octal(mode_t mode) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "%04o", static_cast<unsigned>(mode));
  return text.data();
}

std::string explain(const TunNode& node, const CapabilityFacts& who) {
  switch (node.state) {
    case TunNode::State::Usable:
      return {};
    case TunNode::State::Missing:
      return "there is no /dev/net/tun: load the kernel module (sudo modprobe tun), or start the "
             "container with --device /dev/net/tun";
    case TunNode::State::NoAccess:
      if ((node.mode & 0666) == 0666 || who.euid == 0) {
        return "/dev/net/tun cannot be opened (" + std::string(std::strerror(node.sys_errno)) +
               ") although its mode is " + octal(node.mode) +
               ": a container's device list forbids it; start it with --device /dev/net/tun";
      }
      return "/dev/net/tun cannot be opened by user " + std::to_string(who.euid) +
             ": its mode is " + octal(node.mode) + " and it belongs to user " +
             std::to_string(node.owner) +
             "; most systems have 0666 (sudo chmod 0666 /dev/net/tun, the kernel asks for the "
             "capability anyway), or run proxyvpn with sudo";
    case TunNode::State::NoDriver:
      return "/dev/net/tun is there, but the kernel has no driver behind it: load the module (sudo "
             "modprobe tun), or use a kernel with CONFIG_TUN";
    case TunNode::State::Failed:
      return "/dev/net/tun cannot be opened: " + std::string(std::strerror(node.sys_errno));
  }
  return {};
}

void add(std::vector<std::string>& list, std::string sentence) {
  if (!sentence.empty()) list.push_back(std::move(sentence));
}

void check_instance(const HostFacts& facts, std::vector<std::string>& list) {
  if (facts.other_instance) {
    add(list, "another proxyvpn is running (process " + std::to_string(*facts.other_instance) +
                  "); stop it first: proxyvpn down");
    return;
  }
  switch (facts.firewall_presence) {
    case firewall::Presence::Owned:
      add(list,
          "another proxyvpn is running in this network namespace: it owns the nftables table "
          "'proxyvpn'; stop it first: proxyvpn down");
      break;
    case firewall::Presence::Absent:
    case firewall::Presence::Orphan:  // of a crashed run: adopted, without ever opening
    case firewall::Presence::Ours:
      break;
  }
}

}  // namespace

void check_process(const Config& config, const HostFacts& facts, Findings& findings) {
  auto& blocking = config.dry_run ? findings.warnings : findings.errors;
  const auto missing = explain_missing(facts.capability);
  add(blocking, missing);
  add(blocking, explain(facts.tun_node, facts.capability));
  // Without the capability the packet filter refuses to answer: one sentence is enough.
  if (facts.firewall_error && missing.empty()) {
    add(blocking, "no packet filter can be used: " + facts.firewall_error->message);
  }
  check_instance(facts, blocking);
  const bool known = facts.kernel != KernelVersion{};
  if (config.egress_guard && known && facts.kernel < kEgressHook) {
    add(findings.errors, "--egress-guard needs Linux 5.16 or later, this is " +
                             std::to_string(facts.kernel.major) + "." +
                             std::to_string(facts.kernel.minor) + "; leave the option out");
  }
  if (facts.descriptors_hard != 0 && facts.descriptors_hard < kFewDescriptors) {
    add(findings.warnings, "this process may have " + std::to_string(facts.descriptors_hard) +
                               " descriptors only, so about as many connections per worker; raise "
                               "the limit (ulimit -Hn, LimitNOFILE=)");
  }
}

Findings preflight(const Config& config, const HostFacts& facts) {
  Findings findings;
  check_process(config, facts, findings);
  check_network(config, facts, findings);
  check_resolvers(config, facts, findings);
  return findings;
}

}  // namespace proxyvpn::app
