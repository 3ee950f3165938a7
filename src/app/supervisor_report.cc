// What the daemon tells: to the terminal when it is up, and over the control socket.
#include <unistd.h>

#include <ctime>

#include "app/capabilities.h"
#include "app/supervisor.h"
#include "base/log.h"

namespace proxyvpn::app {

RunFacts Supervisor::facts() const {
  const HostPlan& plan = lifecycle_.plan();
  RunFacts facts;
  switch (phase_) {
    case Phase::Starting:
      facts.state = RunState::Starting;
      break;
    case Phase::Renewing:
      facts.state = RunState::WorkerLost;
      break;
    case Phase::Stopping:
    case Phase::Done:
      facts.state = RunState::Stopping;
      break;
    case Phase::Up:
      facts.state = RunState::Up;
      if (pool_.running() == 0) facts.state = RunState::WorkerLost;
      if (health_.is_lost()) facts.state = RunState::ProxyLost;
      break;
  }
  facts.proxy_url = connect::redacted(session_.config.proxy);
  facts.proxies = session_.proxies;
  facts.trouble = health_.trouble();
  facts.tun_name = plan.routing.link.name;
  facts.tun_addresses = plan.routing.link.addresses;
  facts.killswitch = plan.policy.mode != firewall::Mode::Open;
  facts.backend = tools_.firewall->name();
  facts.resolvers = plan.policy.resolvers;
  facts.started = started_;
  facts.now = std::time(nullptr);
  facts.workers = pool_.running();
  facts.workers_wanted = plan.queues;
  return facts;
}

std::vector<firewall::Counter> Supervisor::refused() {
  const RaisedCapability raised(CAP_NET_ADMIN);
  auto counters = tools_.firewall->counters();
  if (counters) return std::move(*counters);
  log::debug("the counters can't be read", {{"reason", counters.error().message}});
  return {};
}

void Supervisor::announce() {
  for (const auto& line : start_lines(facts(), launcher_.detached())) launcher_.say(line);
  if (session_.config.verbose) launcher_.say(dns_line(lifecycle_.plan().policy.resolvers));
}

std::string Supervisor::answer(Verb verb, const Peer& peer) {
  switch (verb) {
    case Verb::Ping:
      return ok_reply({{"pid", std::to_string(::getpid())}});
    case Verb::Status:
      return ok_reply(status_fields(facts(), pool_.totals(), refused()));
    case Verb::Counters:
      return ok_reply(counter_fields(refused()));
    case Verb::Down:
      if (committed_) {
        stop("user " + std::to_string(peer.uid) + " asked for it");
      } else {
        fail_start("stopped by `proxyvpn down` before it was up");
      }
      return ok_reply({});
  }
  return error_reply("unknown request");
}

}  // namespace proxyvpn::app
