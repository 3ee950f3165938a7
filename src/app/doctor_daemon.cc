#include "app/doctor_daemon.h"

#include "app/beacon.h"
#include "app/status_command.h"

namespace proxyvpn::app {
namespace {

void take_status(const Status& status, FoundDaemon& daemon) {
  daemon.facts.found = true;
  daemon.facts.state = state_text(status);
  daemon.facts.flows = status.state == RunState::Up;
  daemon.facts.detail = status.detail;
  daemon.facts.trouble = status.trouble;
  daemon.facts.killswitch = status.killswitch;
  daemon.facts.workers = status.workers;
  daemon.facts.workers_wanted = status.workers_wanted;
  daemon.facts.pid = status.pid;
  daemon.proxy_url = status.proxy_url;
  for (const auto& proxy : status.proxies) daemon.proxies.push_back(proxy.address);
  daemon.resolvers = status.resolvers;
  daemon.tun_name = status.tun_name;
}

}  // namespace

FoundDaemon find_daemon(const Config& config) {
  FoundDaemon daemon;
  if (const auto owner = find_beacon()) {
    daemon.up = true;
    daemon.facts.pid = owner->pid;
    daemon.uid = owner->uid;
  }
  const auto status = read_status(config);
  if (!status) {
    daemon.facts.problem = status.error().message;
    return daemon;
  }
  switch (status->state) {
    case RunState::Starting:
    case RunState::Up:
    case RunState::ProxyLost:
    case RunState::WorkerLost:
    case RunState::Stopping:
      daemon.up = true;
      take_status(*status, daemon);
      break;
    case RunState::Unknown:  // somebody lives and cannot be asked
      daemon.up = true;
      daemon.facts.problem = status->detail;
      break;
    case RunState::Crashed:
    case RunState::Locked:
      daemon.shut = !daemon.up;
      daemon.locked = status->state == RunState::Locked;
      break;
    case RunState::Down:
      break;
  }
  return daemon;
}

DaemonCounts count_daemon(const Config& config) {
  const auto status = read_status(config);
  if (!status || status->pid == 0) return {};
  return {status->totals.flows_total, all_refused(*status).packets};
}

}  // namespace proxyvpn::app
