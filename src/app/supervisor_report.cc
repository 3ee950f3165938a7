// What the daemon tells: to the terminal when it is up, and over the control socket.
#include <unistd.h>

#include <ctime>

#include "app/capabilities.h"
#include "app/process_memory.h"
#include "app/status_json.h"
#include "app/supervisor.h"
#include "base/log.h"

namespace proxyvpn::app {

RunState Supervisor::state() const noexcept {
  switch (phase_) {
    case Phase::Starting:
      return RunState::Starting;
    case Phase::Renewing:
      return RunState::WorkerLost;
    case Phase::Stopping:
    case Phase::Done:
      return RunState::Stopping;
    case Phase::Up:
      break;
  }
  if (health_.is_lost()) return RunState::ProxyLost;
  return pool_.running() == 0 ? RunState::WorkerLost : RunState::Up;
}

Status Supervisor::status() const {
  const HostPlan& plan = lifecycle_.plan();
  Status status;
  status.state = state();
  status.pid = ::getpid();
  status.started = started_;
  status.now = std::time(nullptr);
  status.proxy_url = connect::redacted(session_.config.proxy);
  status.proxies = session_.proxies;
  status.proxy_in_use = pool_.proxy_in_use();
  status.trouble = health_.trouble();
  status.tun_name = plan.routing.link.name;
  status.tun_addresses = plan.routing.link.addresses;
  status.killswitch = plan.policy.mode != firewall::Mode::Open;
  status.backend = tools_.firewall->name();
  status.resolvers = plan.policy.resolvers;
  status.totals = pool_.totals();
  status.rates = meter_.rates();
  status.history = meter_.history();
  status.workers = pool_.running();
  status.workers_wanted = plan.queues;
  status.worker_list = pool_.list();
  status.memory_budget = session_.config.memory_budget;
  return status;
}

std::string Supervisor::full_status() {
  Status full = status();
  full.refused = refused();
  full.resident = resident_bytes(full.pid);
  for (const auto& worker : full.worker_list) {
    const auto resident = worker.pid == 0 ? std::nullopt : resident_bytes(worker.pid);
    if (resident && full.resident) *full.resident += *resident;
  }
  return to_json(full);
}

std::vector<firewall::Counter> Supervisor::refused() {
  const RaisedCapability raised(CAP_NET_ADMIN);
  auto counters = tools_.firewall->counters();
  if (counters) return std::move(*counters);
  log::debug("the counters can't be read", {{"reason", counters.error().message}});
  return {};
}

void Supervisor::announce() {
  for (const auto& line : start_lines(status(), launcher_.detached())) launcher_.say(line);
  if (session_.config.verbose) launcher_.say(dns_line(lifecycle_.plan().policy.resolvers));
}

ControlServer::Answer Supervisor::answer(const Request& request, const Peer& peer) {
  switch (request.verb) {
    case Verb::Ping:
      return {ok_reply({{"pid", std::to_string(::getpid())}}), {}};
    case Verb::Status:
      return {ok_reply({{"status", full_status()}}), {}};
    case Verb::Counters:
      return {ok_reply(counter_fields(refused())), {}};
    case Verb::Flows: {
      auto dump = pool_.dump_flows();
      if (!dump) return {error_reply(dump.error().message), {}};
      return {ok_reply({}), std::move(*dump)};
    }
    case Verb::KillFlow: {
      const auto killed = pool_.kill_flow(request.flow);
      return {killed ? ok_reply({}) : error_reply(killed.error().message), {}};
    }
    case Verb::Reload:
      return {begin_reload(), {}};
    case Verb::Direct: {
      const auto let = let_out(peer.pid);
      return {let ? ok_reply({}) : error_reply(let.error().message), {}};
    }
    case Verb::Down:
      if (committed_) {
        stop("user " + std::to_string(peer.uid) + " asked for it");
      } else {
        fail_start("stopped by `proxyvpn down` before it was up");
      }
      return {ok_reply({}), {}};
  }
  return {error_reply("unknown request"), {}};
}

}  // namespace proxyvpn::app
