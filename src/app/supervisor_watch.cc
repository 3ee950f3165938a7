// What happens while the daemon is up: the machine changes, others change our rules, workers and
// the proxy come and go.
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "app/capabilities.h"
#include "app/direct_group.h"
#include "app/resolver.h"
#include "app/restart_policy.h"
#include "app/supervisor.h"
#include "base/log_record.h"

namespace proxyvpn::app {
namespace {

constexpr milliseconds kSettle{20};  // changes come in groups: looked at together
constexpr milliseconds kHealPause{
    250};  // against somebody who takes our rules away again and again
constexpr seconds kRenewPause{1};
constexpr milliseconds kCutDelay{10};
constexpr unsigned kTicksBetweenLooks = 5;  // of a second each, where nothing tells of changes
constexpr seconds kLongestResolvePause{60};

}  // namespace

void Supervisor::watch() {
  auto monitor = netlink::open_monitor();
  if (monitor && reactor_.add((*monitor)->fd(), EPOLLIN, network_handler_)) {
    monitor_ = std::move(*monitor);
  } else {
    warn("changes of rules and links can't be watched; they are looked at every 5 s");
  }
  const int fd = tools_.firewall->monitor_fd();
  firewall_watched_ = fd >= 0 && reactor_.add(fd, EPOLLIN, firewall_handler_);
}

void Supervisor::on_tick() {
  tick_.arm(reactor_.timers(), reactor_.now() + seconds(1));
  pool_.reap();
  if (metrics_) metrics_->reap();
  reader_.reap();
  pool_.tick();
  meter_.sample(reactor_.now(), pool_.totals());
  if (session_.on_tick) session_.on_tick();
  show_waiting();
  if (phase_ != Phase::Up) return;
  ++ticks_;
  // With --dns the person has decided.
  const bool changed = session_.resolvers_changed && session_.resolvers_changed();
  if (changed && session_.config.dns.empty()) refresh_plan();
  if (!firewall_watched_) look_after_firewall();
  if (!monitor_ && ticks_ % kTicksBetweenLooks == 0) {
    pending_ = {true, true, true, true};
    look_after_network();
  }
}

void Supervisor::show_waiting() {
  if (phase_ != Phase::Up) return;
  if (!health_.is_lost()) {
    if (std::exchange(waiting_shown_, false)) show_progress("");
    return;
  }
  waiting_shown_ = true;
  const auto retry = pool_.next_retry();
  const auto now = reactor_.now();
  const auto left =
      retry && *retry > now ? std::chrono::ceil<seconds>(*retry - now).count() : seconds::rep{0};
  show_progress("the proxy is lost: " +
                (left > 0 ? "trying again in " + std::to_string(left) + " s" : "trying again now"));
}

void Supervisor::on_network() {
  const auto changes = monitor_->drain();
  pending_.links = pending_.links || changes.links;
  pending_.addresses = pending_.addresses || changes.addresses;
  pending_.routes = pending_.routes || changes.routes;
  pending_.rules = pending_.rules || changes.rules;
  if (network_timer_.armed() || phase_ == Phase::Stopping || phase_ == Phase::Done) return;
  TimePoint when = reactor_.now() + kSettle;
  if (last_heal_) when = std::max(when, *last_heal_ + kHealPause);
  network_timer_.arm(reactor_.timers(), when);
}

void Supervisor::look_after_network() {
  if (phase_ == Phase::Stopping || phase_ == Phase::Done) return;
  if (phase_ == Phase::Renewing) {
    if (pool_.running() == 0) renew_tun();
    return;
  }
  const auto changes = std::exchange(pending_, {});
  const auto snapshot = tools_.routing->snapshot();
  if (snapshot && !lifecycle_.has_tun(*snapshot)) {
    log::warning("the TUN device was removed by somebody else: it is made anew",
                 {{"device", session_.config.tun_name}});
    phase_ = Phase::Renewing;
    pool_.stop(Duration::zero());
    return;
  }
  const auto healed = lifecycle_.heal_routing();
  if (!healed) {
    log::error("policy rules and routes can't be restored; the machine stays shut",
               {{"reason", healed.error().message}});
    last_heal_ = reactor_.now();
    network_timer_.arm(reactor_.timers(), reactor_.now() + kRenewPause);
  } else if (*healed) {
    last_heal_ = reactor_.now();
    log::warning("rules or routes of ours were removed by somebody else and are back");
  }
  if (changes.links || changes.addresses) refresh_plan();
}

void Supervisor::renew_tun() {
  auto renewed = lifecycle_.renew_tun();
  if (renewed) renewed = pool_.start(lifecycle_.tun(), session_.proxies);
  if (renewed) {
    phase_ = committed_ ? Phase::Up : Phase::Starting;
    return;
  }
  log::error("the TUN device can't be made again; the machine stays shut",
             {{"reason", renewed.error().message}});
  network_timer_.arm(reactor_.timers(), reactor_.now() + kRenewPause);
  pool_.stop(Duration::zero());
}

void Supervisor::look_after_firewall() {
  const bool touched = tools_.firewall->drain_monitor();
  if (phase_ == Phase::Stopping || phase_ == Phase::Done) return;
  if (firewall_watched_ && !touched) return;
  const auto healed = lifecycle_.heal_firewall();
  if (!healed) {
    if (!firewall_failure_told_) {
      log::error("the firewall rules were changed by somebody else and can't be restored",
                 {{"reason", healed.error().message}});
    }
    firewall_failure_told_ = true;
    return;
  }
  firewall_failure_told_ = false;
  if (*healed) log::warning("the firewall rules were changed by somebody else and are restored");
}

// The network of the machine is another one now: bridges, uplinks, perhaps resolvers.
void Supervisor::refresh_plan() {
  if (!session_.replan) return;
  auto plan = session_.replan(session_.config, session_.proxies);
  if (!plan) {
    log::warning("a change of the network is not followed", {{"reason", plan.error().message}});
    return;
  }
  const auto before = lifecycle_.plan().policy.resolvers;
  plan->policy.direct_cgroup = lifecycle_.plan().policy.direct_cgroup;
  if (auto applied = lifecycle_.apply_policy(std::move(plan->policy)); !applied) {
    log::error("the firewall can't follow a change of the network; the old rules hold",
               {{"reason", applied.error().message}});
    return;
  }
  const auto& now = lifecycle_.plan().policy.resolvers;
  if (now != before) log::info("this machine has other resolvers now: " + dns_line(now));
}

void Supervisor::replace_proxies(std::vector<Endpoint> proxies) {
  if (proxies.empty() || proxies == session_.proxies) return;
  if (phase_ == Phase::Stopping || phase_ == Phase::Done || !session_.replan) return;
  auto plan = session_.replan(session_.config, proxies);
  if (!plan) {
    log::warning("new addresses of the proxy are not used", {{"reason", plan.error().message}});
    return;
  }
  // The firewall first: a worker that is told would only be refused.
  plan->policy.direct_cgroup = lifecycle_.plan().policy.direct_cgroup;
  if (auto applied = lifecycle_.apply_policy(std::move(plan->policy)); !applied) {
    log::error("the firewall can't open the proxy's new addresses",
               {{"reason", applied.error().message}});
    return;
  }
  session_.proxies = std::move(proxies);
  log::info("the proxy's name has other addresses now",
            {{"proxy", connect::redacted(session_.config.proxy)},
             {"first", to_string(session_.proxies.front())},
             {"count", session_.proxies.size()}});
  pool_.set_proxies(session_.proxies);
}

void Supervisor::begin_resolve() {
  if (resolving_ || !session_.resolve) return;
  resolving_ = true;
  last_resolve_ = reactor_.now();
  resolve_pause_ = std::clamp<Duration>(resolve_pause_ * 2, kResolvePause, kLongestResolvePause);
  const auto begun = session_.resolve([this](Result<std::vector<Endpoint>> found) {
    resolving_ = false;
    if (found) return replace_proxies(std::move(*found));
    log::debug("the proxy's name can't be looked up", {{"reason", found.error().message}});
  });
  if (!begun) resolving_ = false;
}

void Supervisor::on_resolve(unsigned) {
  if (resolving_ || resolve_timer_.armed() || !session_.resolve) return;
  if (phase_ == Phase::Stopping || phase_ == Phase::Done) return;
  const TimePoint now = reactor_.now();
  const TimePoint when = last_resolve_ ? *last_resolve_ + resolve_pause_ : now;
  resolve_timer_.arm(reactor_.timers(), std::max(now, when));
}

void Supervisor::on_ready(unsigned worker) {
  if (phase_ != Phase::Starting) return;
  if (worker == 0 || !waits_for_proxy()) became_ready();  // only the first one has tried the proxy
}

void Supervisor::on_proxy_lost(unsigned worker, const ProxyLost& message) {
  const auto sentence = health_.lost(worker, message, reactor_.now());
  if (phase_ == Phase::Starting && waits_for_proxy()) {
    return fail_start("the proxy " + connect::redacted(session_.config.proxy) + " " +
                      health_.trouble() + "; nothing was left changed, see `proxyvpn doctor`");
  }
  if (!sentence) return;
  log::warning(*sentence);
  notifier_.status(*sentence);
}

void Supervisor::on_proxy_back(unsigned worker) {
  // What one worker has found out, the others need not wait for with a back-off of their own.
  pool_.repeat_proxies();
  const auto sentence = health_.back(worker, reactor_.now());
  if (!sentence) return;
  resolve_pause_ = Duration::zero();
  log::info(*sentence);
  notifier_.status("Up: " + connect::redacted(session_.config.proxy));
}

void Supervisor::on_death(unsigned worker, const std::string& how, unsigned in_a_row,
                          Duration delay) {
  health_.forget(worker);
  if (!committed_ && in_a_row >= kStartAttempts) {
    return fail_start("the data plane does not run: its process " + how);
  }
  const std::string when = delay == Duration::zero() ? "at once" : "in " + describe(delay);
  log::error("a worker " + how + "; its connections end, another one takes over " + when,
             {{"worker", worker}});
}

// A moment later, so that the next worker is there first.
void Supervisor::on_flows_lost(const std::vector<stack::FlowKey>& flows) {
  lost_flows_.insert(lost_flows_.end(), flows.begin(), flows.end());
  if (!lost_flows_.empty()) cut_timer_.arm(reactor_.timers(), reactor_.now() + kCutDelay);
}

void Supervisor::cut_lost_flows() {
  std::vector<std::pair<Endpoint, Endpoint>> flows;
  for (const auto& flow : lost_flows_) flows.emplace_back(flow.source, flow.destination);
  lost_flows_.clear();
  if (auto cut = lifecycle_.cut(flows); !cut) {
    log::warning("connections of a worker that died end at their next packet only",
                 {{"reason", cut.error().message}});
  }
}

void Supervisor::on_all_gone() {
  if (phase_ == Phase::Renewing && !network_timer_.armed()) renew_tun();
  if (phase_ == Phase::Stopping) finish();
}

// `exec --direct`: whoever asked goes direct from now on, with its children.
Result<> Supervisor::let_out(pid_t process) {
  if (phase_ != Phase::Up) return fail(Code::Busy, "proxyvpn is not up");
  const std::string back_end = tools_.firewall->name();
  if (back_end.starts_with("iptables")) {
    return fail(Code::Unsupported, "exec --direct needs nftables; the rules are those of " +
                                       back_end + " (--firewall nftables)");
  }
  auto group = open_direct_group();
  if (!group) return tl::unexpected(group.error());
  firewall::Policy policy = lifecycle_.plan().policy;
  if (policy.direct_cgroup != group->cgroup) {
    policy.direct_cgroup = group->cgroup;
    if (auto applied = lifecycle_.apply_policy(std::move(policy)); !applied) {
      return wrap(applied.error(), "letting a command out of the tunnel");
    }
  }
  if (auto joined = group->add(process); !joined) return joined;
  log::info("a command goes direct (exec --direct)", {{"pid", process}});
  return {};
}

std::vector<UniqueFd> Supervisor::make_sockets(Family family, unsigned count) {
  const RaisedCapability raised(CAP_NET_ADMIN);
  const std::uint32_t mark = lifecycle_.plan().policy.marks.bypass;
  std::vector<UniqueFd> sockets;
  while (sockets.size() < count) {
    UniqueFd socket = proxy_sockets_.make(family);
    // EMFILE, ENFILE, ENOBUFS, ENOMEM: the worker asks again; EAFNOSUPPORT: it uses the other one.
    if (!socket) break;
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) break;
    sockets.push_back(std::move(socket));
  }
  return sockets;
}

}  // namespace proxyvpn::app
