#include "app/decide.h"

#include <poll.h>
#include <sched.h>

#include <csignal>
#include <utility>

#include "app/plan.h"
#include "app/preflight.h"
#include "app/resolver.h"

namespace proxyvpn::app {
namespace {

unsigned cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? static_cast<unsigned>(count) : 1;
}

Result<> tell(const Findings& findings, const Complain& complain) {
  for (const auto& warning : findings.warnings) complain(log::Level::Warning, warning);
  if (findings.errors.empty()) return {};
  for (std::size_t i = 0; i + 1 < findings.errors.size(); ++i) {
    complain(log::Level::Error, findings.errors[i]);
  }
  return fail(Code::InvalidArgument, findings.errors.back());
}

bool ends_us(const Signals* signals) {
  while (signals) {
    const auto signal = signals->next();
    if (!signal) return false;
    if (*signal != SIGCHLD) return true;
  }
  return false;
}

Result<Addresses> look_up(const std::string& host, const SandboxUser& user,
                          const Signals* signals) {
  auto lookup = Lookup::start(host, user);
  if (!lookup) return tl::unexpected(lookup.error());
  for (;;) {
    const TimePoint now = Clock::now();
    if (auto answer = lookup->poll(now)) return std::move(*answer);
    if (ends_us(signals)) return fail(Code::System, "stopped by a signal");
    const auto left = std::chrono::ceil<milliseconds>(lookup->deadline() - now).count();
    pollfd waiting[2] = {{lookup->fd(), POLLIN, 0}, {signals ? signals->fd() : -1, POLLIN, 0}};
    ::poll(waiting, 2, left > 0 ? static_cast<int>(left) : 0);
  }
}

Result<std::vector<Endpoint>> find_proxies(const Config& config, const HostFacts& facts,
                                           const SandboxUser& user, const Signals* signals) {
  Addresses addresses;
  if (config.proxy_ips.empty()) {
    auto found = look_up(config.proxy.host, user, signals);
    if (!found) {
      // DNS may be refused by the killswitch of a run that crashed.
      const bool shut = facts.firewall_presence == firewall::Presence::Orphan;
      Error error = std::move(found.error());
      if (shut) {
        error.message +=
            " (this machine is shut by an earlier run that crashed or by `proxyvpn lock`: give "
            "the proxy's address with --proxy-ip, or open the machine first)";
      }
      return tl::unexpected(std::move(error));
    }
    addresses = std::move(*found);
  }
  auto proxies = proxy_endpoints(config, addresses);
  if (proxies.empty()) {
    return fail(Code::NotFound, "the proxy " + config.proxy.host + " has no address");
  }
  return proxies;
}

}  // namespace

Result<Decision> decide(const Config& config, const SandboxUser& user, const Signals* signals,
                        const Complain& complain,
                        const std::function<void(const std::string&)>& progress) {
  Decision decision;
  decision.facts = std::make_shared<HostFacts>(read_host_facts(config));
  if (auto good = tell(preflight(config, *decision.facts), complain); !good) {
    return tl::unexpected(good.error());
  }
  if (progress && config.proxy_ips.empty()) {
    progress("starting: looking up the proxy " + config.proxy.host);
  }
  auto proxies = find_proxies(config, *decision.facts, user, signals);
  if (!proxies) return tl::unexpected(proxies.error());
  decision.proxies = std::move(*proxies);
  if (auto good = tell(check_proxies(config, *decision.facts, decision.proxies), complain); !good) {
    return tl::unexpected(good.error());
  }
  decision.workers = worker_count(config, cores());
  decision.plan = build_plan(config, *decision.facts, decision.proxies, decision.workers);
  return decision;
}

}  // namespace proxyvpn::app
