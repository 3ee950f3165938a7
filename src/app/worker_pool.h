#pragma once
// The data plane's processes: forks them, gives them marked sockets, listens to them, follows a
// dead or hung one with another. The TUN queues stay open here all the time, so that the device and
// the kernel's choice of queue do not change when a worker goes.
#include <sys/types.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/engine.h"
#include "app/restart_policy.h"
#include "app/status.h"
#include "app/worker_protocol.h"
#include "app/worker_stats.h"
#include "app/worker_totals.h"
#include "event/reactor.h"
#include "stack/tcp_flow.h"
#include "tun/tun_device.h"

namespace proxyvpn::app {

// What all workers get.
struct WorkerSetup {
  EngineConfig engine;  // without descriptors, counters and proxies: those are per worker
  int log_fd = 2;       // not owned; where a worker's log lines go
  // Called in the child, with the descriptors that it needs: closes all others, drops every
  // privilege, installs the filter.
  std::function<Result<>(std::span<const int> keep)> enter_sandbox;
  std::function<int(EngineConfig)> run;  // run_engine()
  // Up to `count` non-blocking TCP sockets with our bypass mark; fewer when the system has no more.
  std::function<std::vector<UniqueFd>(Family family, unsigned count)> make_sockets;
};

// Told by the pool, from inside the reactor. Must not destroy the pool; only on_all_gone() may call
// start().
class WorkerListener {
 public:
  virtual ~WorkerListener() = default;
  virtual void on_ready(unsigned worker) = 0;
  virtual void on_proxy_lost(unsigned worker, const ProxyLost& message) = 0;
  virtual void on_proxy_back(unsigned worker) = 0;
  virtual void on_resolve(unsigned worker) = 0;
  // `how`: "was killed by SIGSEGV", "ended with status 1". `in_a_row`: deaths without a good life
  // between them; `delay`: until the next one starts.
  virtual void on_death(unsigned worker, const std::string& how, unsigned in_a_row,
                        Duration delay) = 0;
  // Right after on_death(): what it carried, by its own word.
  virtual void on_flows_lost(const std::vector<stack::FlowKey>& /*flows*/) {}
  virtual void on_all_gone() = 0;  // after stop()
};

class WorkerPool {
 public:
  // All three outlive the pool.
  WorkerPool(event::Reactor& reactor, WorkerSetup setup, WorkerListener& listener);
  ~WorkerPool();  // SIGKILL to what is left, and waits for it
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void set_socket_maker(std::function<std::vector<UniqueFd>(Family, unsigned)> maker) {
    setup_.make_sockets = std::move(maker);
  }

  // In a child that has no business with them.
  void forget_credentials() noexcept { setup_.engine.credentials.reset(); }

  // One worker per queue. `tun` is not owned and must outlive the pool or the next start().
  Result<> start(const tun::TunQueues& tun, std::vector<Endpoint> proxies);
  // Whether the first worker asks the proxy before it is ready; for those that are started later.
  void set_try_proxy(bool on) noexcept { setup_.engine.try_proxy = on; }
  // To be called on SIGCHLD, and once a second.
  void reap();
  void tick();
  // For workers that run and for those that come.
  // Tells the workers the same list again: one that has lost the proxy then tries it at once.
  void repeat_proxies() { set_proxies(std::vector<Endpoint>(proxies_)); }
  void set_proxies(std::vector<Endpoint> proxies);
  // For workers that run and for those that come: verbose, connect_timeout, preconnect,
  // credentials. Has this flow reset. NotFound: no worker that lives can have it.
  Result<> kill_flow(std::uint64_t id);
  // Asks every worker for its table of flows (flow_dump.h) and answers at once: the read end of a
  // pipe, whose end says that all have answered, then a memory file for each worker asked. Nothing
  // of it is read here, and no worker can make it grow.
  Result<std::vector<UniqueFd>> dump_flows();
  // Credentials only when they have changed: Digest begins anew with them.
  void set_options(const Config& config, bool credentials);
  // Asks every worker to reset its flows and end; after `patience` it is killed.
  void stop(Duration patience);
  // At once: SIGKILL.
  void kill_all() noexcept;

  [[nodiscard]] unsigned running() const noexcept;
  [[nodiscard]] unsigned size() const noexcept { return static_cast<unsigned>(slots_.size()); }
  [[nodiscard]] WorkerTotals totals() const noexcept;
  // When a worker that has lost the proxy tries it again; of several the first. Empty: none has.
  [[nodiscard]] std::optional<TimePoint> next_retry() const noexcept;
  // One entry per worker, by number; numbers of the process that runs now.
  [[nodiscard]] std::vector<WorkerStatus> list() const;
  // Which of the proxy's addresses a worker connected to last.
  [[nodiscard]] std::optional<Endpoint> proxy_in_use() const noexcept;

 private:
  struct Slot;
  Result<> launch(Slot& slot);
  [[noreturn]] void run_child(Slot& slot, UniqueFd channel, pid_t supervisor);
  void on_channel(Slot& slot, std::uint32_t events);
  void receive(Slot& slot);
  void handle(Slot& slot, const ToSupervisor& message);
  void serve(Slot& slot);  // answers what is owed as far as the channel takes it
  template <class Message>
  void tell(const Message& message);
  void want_output(Slot& slot, bool on);
  void reject(Slot& slot, const char* why);
  void kill_slot(Slot& slot) noexcept;
  void buried(Slot& slot, int status);
  void check_gone();

  event::Reactor& reactor_;
  WorkerSetup setup_;
  WorkerListener& listener_;
  const tun::TunQueues* tun_ = nullptr;
  std::vector<Endpoint> proxies_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::uint64_t lives_ = 0;  // of all workers so far
  WorkerTotals carried_;     // of workers that are gone
  bool stopping_ = false;
  event::Timer kill_timer_;
  event::Timer gone_timer_;
};

}  // namespace proxyvpn::app
