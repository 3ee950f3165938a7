#pragma once
// --metrics as the supervisor has it: the process that answers Prometheus (metrics_server.h) is
// started, told a status when it asks, and followed by another when it dies. What it says is one
// byte that is not even looked at.
#include <sys/types.h>

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "base/ip.h"
#include "base/unique_fd.h"
#include "event/reactor.h"

namespace proxyvpn::app {

// A listener for --metrics. The error names the address and what to do.
Result<UniqueFd> listen_for_metrics(const Endpoint& where);

class MetricsPort {
 public:
  static constexpr milliseconds kShortestPause{100};  // between answers, whatever the child asks
  static constexpr seconds kRestart{5};

  struct Setup {
    UniqueFd listener;
    // Called in the child: closes all but these descriptors, drops every privilege. Filters calls.
    std::function<Result<>(std::span<const int> keep)> enter_sandbox;
    std::function<void()> forget;         // called in the child: wipes what is secret
    std::function<std::string()> status;  // as JSON
  };
  // Starts the process. `reactor` outlives it.
  MetricsPort(event::Reactor& reactor, Setup setup);
  ~MetricsPort();  // ends the process and waits for it
  MetricsPort(const MetricsPort&) = delete;
  MetricsPort& operator=(const MetricsPort&) = delete;

  // To be called on SIGCHLD and once a second.
  void reap();

 private:
  void start();
  [[noreturn]] void run_child(UniqueFd channel, pid_t supervisor);
  void on_channel();
  void answer();
  void close_channel();

  event::Reactor& reactor_;
  Setup setup_;
  UniqueFd channel_;
  pid_t pid_ = 0;
  event::FunctionHandler handler_;
  event::Timer answer_timer_;
  event::Timer restart_timer_;
  TimePoint next_answer_{};
};

}  // namespace proxyvpn::app
