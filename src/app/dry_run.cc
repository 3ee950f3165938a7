#include "app/dry_run.h"

#include <algorithm>

#include "connect/proxy_url.h"
#include "netlink/plan.h"

namespace proxyvpn::app {
namespace {

// Behind this many, the rest is counted: a busy server has thousands.
constexpr std::size_t kMostCutLines = 200;

// "192.0.2.1:22" and "[2001:db8::1]:22", as ss(8) takes them.
std::string ss_command(const netlink::TcpSocket& socket) {
  return "ss -K src " + to_string(socket.local) + " dst " + to_string(socket.remote);
}

class Text {
 public:
  void step(const std::string& title) {
    ++number_;
    text_ += "\n# " + std::to_string(number_) + ". " + title + "\n";
  }
  void comment(const std::string& sentence) { text_ += "# " + sentence + "\n"; }
  void line(const std::string& command) { text_ += command + "\n"; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
  int number_ = 0;
};

std::string join_endpoints(const std::vector<Endpoint>& endpoints) {
  std::string text;
  for (const auto& endpoint : endpoints) text += (text.empty() ? "" : ", ") + to_string(endpoint);
  return text;
}

std::string join_addresses(const std::vector<IpAddress>& addresses) {
  std::string text;
  for (const auto& address : addresses) text += (text.empty() ? "" : ", ") + to_string(address);
  return text.empty() ? "none" : text;
}

void write_head(Text& text, const Config& config, const HostPlan& plan,
                const std::vector<Endpoint>& proxies) {
  text.comment("proxyvpn up --dry-run: nothing of this has been done.");
  text.comment("proxy " + connect::redacted(config.proxy) + " at " + join_endpoints(proxies) +
               "; resolvers " + join_addresses(plan.policy.resolvers));
}

void write_firewall(Text& text, const Config& config, firewall::Policy policy,
                    const MachineSockets& sockets) {
  const char* title = policy.mode == firewall::Mode::Open
                          ? "packet marks, in one transaction (no killswitch)"
                          : "killswitch and packet marks, in one transaction";
  text.step(title);
  if (config.backend == firewall::Backend::IptablesNft ||
      config.backend == firewall::Backend::IptablesLegacy) {
    text.comment("--firewall asks for iptables: the same rules go into its chains PROXYVPN_*");
  }
  keep_inbound(sockets, policy);
  if (!sockets.inbound.empty()) {
    text.comment(std::to_string(sockets.inbound.size()) +
                 " open connections into this machine are kept (sets keep4, keep6)");
  }
  text.line("nft -f - <<'EOF'");
  auto rules = firewall::to_nft(policy);
  while (rules.ends_with('\n')) rules.pop_back();
  text.line(rules);
  text.line("EOF");
}

void write_cuts(Text& text, const std::vector<netlink::TcpSocket>& cut) {
  text.step("connections that were opened before are cut, so that none goes on in clear");
  if (cut.empty()) text.comment("there is none");
  for (std::size_t i = 0; i < std::min(cut.size(), kMostCutLines); ++i) {
    text.line(ss_command(cut[i]));
  }
  if (cut.size() > kMostCutLines) {
    text.comment("and " + std::to_string(cut.size() - kMostCutLines) + " more");
  }
}

// The device as we make it: without the flags that `ip` leaves out by itself.
std::vector<std::string> device_commands(const HostPlan& plan) {
  const auto& routing = plan.routing;
  const bool v6 = std::any_of(routing.rules.begin(), routing.rules.end(),
                              [](const auto& rule) { return rule.family == Family::V6; });
  // A plan of the device alone has no IPv6 settings when nothing in it is IPv6.
  netlink::RoutingPlan alone;
  alone.link = routing.link;
  auto lines = v6 ? netlink::to_commands(routing.link) : netlink::to_commands(alone);
  if (lines.empty()) return lines;
  if (plan.offload) lines.front() += " vnet_hdr";
  if (plan.queues > 1) lines.front() += " multi_queue";
  return lines;
}

}  // namespace

MachineSockets read_sockets() {
  const auto diag = netlink::open_socket_diag();
  if (!diag) return {};
  return list_sockets(**diag).value_or(MachineSockets{});
}

std::string dry_run_text(const Config& config, const HostPlan& plan,
                         const std::vector<Endpoint>& proxies, const MachineSockets& sockets) {
  Text text;
  write_head(text, config, plan, proxies);
  write_firewall(text, config, plan.policy, sockets);
  write_cuts(text, captured(sockets, plan.policy));
  const auto& routing = plan.routing;
  text.step("a table that leads nowhere, before any rule points at it");
  for (const auto& route : routing.barrier_routes) text.line(to_command(route));
  text.step("captured packets look there, and nowhere else");
  for (const auto& rule : routing.rules) text.line(to_command(rule));
  text.step("the device");
  for (const auto& line : device_commands(plan)) text.line(line);
  text.step("and the way into it");
  for (const auto& route : routing.device_routes) text.line(to_command(route));
  text.step("workers");
  text.comment(std::to_string(plan.queues) +
               " without privileges, one TUN queue each: lwIP takes the connections, HTTP CONNECT "
               "carries them on");
  return text.take();
}

}  // namespace proxyvpn::app
