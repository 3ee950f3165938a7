#pragma once
// The process that owns the machine's set-up: takes the steps, watches over them and over the
// workers, answers the control socket, and takes everything back. One thread that never waits but
// in the reactor. Nothing is parsed here that came from the network.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/beacon.h"
#include "app/config.h"
#include "app/config_reader.h"
#include "app/control_server.h"
#include "app/detach.h"
#include "app/effective_options.h"
#include "app/host_tools.h"
#include "app/lifecycle.h"
#include "app/metrics_port.h"
#include "app/notify.h"
#include "app/proxy_health.h"
#include "app/rate_meter.h"
#include "app/signals.h"
#include "app/start_report.h"
#include "app/state_dir.h"
#include "app/worker_pool.h"
#include "connect/proxy_sockets.h"
#include "event/reactor.h"
#include "netlink/routing.h"

namespace proxyvpn::app {

// What was decided before anything changed, and the ways to decide it again.
struct Session {
  Config config;
  Sources sources;           // where it came from, to be read again
  EffectiveOptions options;  // as texts
  HostPlan plan;
  std::vector<Endpoint> proxies;  // in order of preference
  WorkerSetup workers;            // how a worker runs and is confined, and what it works with
  // The plan for these proxies on the machine as it is now.
  std::function<Result<HostPlan>(const Config& config, const std::vector<Endpoint>& proxies)>
      replan;
  // Starts looking the proxy's name up and calls back later, from the reactor; empty when there is
  // no name to look up.
  std::function<Result<>(std::function<void(Result<std::vector<Endpoint>>)> done)> resolve;
  std::optional<MetricsPort::Setup> metrics;
  std::function<void()> on_tick;            // once a second; may be empty
  std::function<bool()> resolvers_changed;  // since the last call; may be empty
};

class Supervisor final : private WorkerListener {
 public:
  // All outlive it. `directory` may be null: then there is no control socket and no note.
  Supervisor(event::Reactor& reactor, Signals& signals, HostTools& tools, Session session,
             StateDir* directory, Launcher& launcher, const Notifier& notifier);
  ~Supervisor() override;

  // Opens the control socket, so that `down` is heard from the first step on. Without one we go on.
  void open_control();
  // From the first step to the last undo. The exit status: 0 when it was up and was told to end
  // and the machine is as before, else 1; the reason has been told.
  int run();

 private:
  enum class Phase { Starting, Up, Renewing, Stopping, Done };

  // supervisor.cc: start and end
  void start();
  Result<> after(int number, std::string_view name);
  [[nodiscard]] bool hangup_ends() const noexcept;
  [[nodiscard]] bool waits_for_proxy() const noexcept;
  void feed_watchdog();
  void became_ready();
  void stop(const std::string& why);
  void fail_start(const std::string& reason);
  void finish();
  void on_signal();
  void note_step(std::string_view step);
  void show_progress(std::string_view text);  // on a terminal
  void show_waiting();                        // what a lost proxy is waited for
  void warn(const std::string& sentence);

  // supervisor_watch.cc: what happens while we are up
  void watch();
  void renew_tun();
  void on_tick();
  void on_network();
  void look_after_network();
  void look_after_firewall();
  void refresh_plan();
  void replace_proxies(std::vector<Endpoint> proxies);
  void begin_resolve();
  void on_ready(unsigned worker) override;
  void on_proxy_lost(unsigned worker, const ProxyLost& message) override;
  void on_proxy_back(unsigned worker) override;
  void on_resolve(unsigned worker) override;
  void on_death(unsigned worker, const std::string& how, unsigned in_a_row,
                Duration delay) override;
  void on_flows_lost(const std::vector<stack::FlowKey>& flows) override;
  void cut_lost_flows();
  void on_all_gone() override;
  Result<> let_out(pid_t process);
  std::vector<UniqueFd> make_sockets(Family family, unsigned count);

  // supervisor_reload.cc: the configuration, read again
  // An answer for whoever asked, or nothing: it comes later.
  std::string begin_reload();
  Result<Fields> reload(EffectiveOptions fresh);
  Result<> apply_config(const Config& config);

  // supervisor_report.cc: what others are told
  ControlServer::Answer answer(const Request& request, const Peer& peer);
  [[nodiscard]] RunState state() const noexcept;
  [[nodiscard]] Status status() const;
  [[nodiscard]] std::string full_status();  // as JSON, with what has to be asked for
  [[nodiscard]] std::vector<firewall::Counter> refused();
  void announce();

  event::Reactor& reactor_;
  Signals& signals_;
  HostTools& tools_;
  Session session_;
  StateDir* directory_;
  Launcher& launcher_;
  const Notifier& notifier_;
  ProxyHealth health_;
  Lifecycle lifecycle_;
  connect::ProxySockets proxy_sockets_;
  std::unique_ptr<netlink::Monitor> monitor_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<Beacon> beacon_;
  WorkerPool pool_;
  ConfigReader reader_;
  std::unique_ptr<MetricsPort> metrics_;
  RateMeter meter_;

  event::FunctionHandler signal_handler_;
  event::FunctionHandler network_handler_;
  event::FunctionHandler firewall_handler_;
  event::Timer tick_;
  event::Timer start_deadline_;
  event::Timer network_timer_;
  event::Timer resolve_timer_;
  event::Timer finish_timer_;
  event::Timer watchdog_;
  event::Timer cut_timer_;

  Phase phase_ = Phase::Starting;
  bool committed_ = false;
  int exit_code_ = 1;
  std::int64_t started_ = 0;
  unsigned ticks_ = 0;
  netlink::Monitor::Changes pending_;
  bool firewall_watched_ = false;
  std::vector<stack::FlowKey> lost_flows_;  // of workers that have died, to be cut
  bool resolving_ = false;
  bool waiting_shown_ = false;
  bool note_failure_told_ = false;
  bool firewall_failure_told_ = false;
  Duration resolve_pause_{};
  std::optional<TimePoint> last_resolve_;
  std::optional<TimePoint> last_heal_;
};

}  // namespace proxyvpn::app
