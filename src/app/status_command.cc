// `proxyvpn status`: what state this machine is in, once, as JSON, or after a wait.
#include "app/status_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <thread>

#include "app/beacon.h"
#include "app/client_options.h"
#include "app/complain.h"
#include "app/control_client.h"
#include "app/machine_state.h"
#include "app/option_values.h"
#include "app/status_json.h"
#include "app/status_text.h"
#include "app/watch.h"

namespace proxyvpn::app {
namespace {

constexpr milliseconds kStatusPollInterval{200};
constexpr seconds kLongestWait{365 * 24 * 3600};

enum class WaitFor : std::uint8_t { Nothing, Up, Down };

struct Wanted {
  bool json = false;
  WaitFor wait = WaitFor::Nothing;
  std::optional<milliseconds> at_most;
};

bool is_reached(WaitFor what, RunState state) noexcept {
  const bool no_daemon =
      state == RunState::Down || state == RunState::Crashed || state == RunState::Locked;
  switch (what) {
    case WaitFor::Nothing:
      return true;
    case WaitFor::Up:
      return state == RunState::Up;
    case WaitFor::Down:
      return no_daemon;
  }
  return true;
}

void print(const Status& status, bool json) {
  const std::string text = json ? to_json(status, true) + "\n" : status_text(status);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

int show(const Config& config, const Wanted& wanted) {
  const TimePoint began = Clock::now();
  for (;;) {
    const auto status = read_status(config);
    const bool reached = status && is_reached(wanted.wait, status->state);
    // A daemon that is about to come or to go may not answer; a wait goes on over that.
    const bool too_late = wanted.at_most && Clock::now() - began >= *wanted.at_most;
    if (wanted.wait == WaitFor::Nothing || reached || too_late) {
      if (!status) return complain(status.error().message);
      print(*status, wanted.json);
      return reached ? exit_status(status->state, wanted.wait == WaitFor::Down) : kExitTooLate;
    }
    if (!status && status.error().code == Code::Permission) {
      return complain(status.error().message);
    }
    std::this_thread::sleep_for(kStatusPollInterval);
  }
}

class StatusCommand final : public Subcommand {
 public:
  void define(CLI::App& app) override {
    app.add_flag("--json", json_, "Answer as JSON")->group("General");
    app.add_flag("--watch", watch_, "Show state, rates and the busiest connections, live")
        ->group("General");
    app.add_option("--wait", wait_,
                   "Return when the machine is in this state; up when none is named")
        ->type_name("up|down")
        ->expected(0, 1)
        ->group("General");
    app.add_option("--timeout", timeout_, "Longest wait of --wait, in seconds; without it for ever")
        ->type_name("SECONDS")
        ->group("General");
    define_client(app, client_);
  }

  Result<Action> action(std::optional<std::string> /*proxy_url*/) override {
    auto config = to_config(client_);
    if (!config) return tl::unexpected(config.error());
    auto wanted = read();
    if (!wanted) return tl::unexpected(wanted.error());
    if (watch_) {
      return [config = std::move(*config), json = json_] { return run_watch(config, json); };
    }
    return [config = std::move(*config), wanted = *wanted] { return show(config, wanted); };
  }

 private:
  [[nodiscard]] Result<Wanted> read() const {
    Wanted wanted;
    wanted.json = json_;
    if (wait_ && *wait_ != "up" && *wait_ != "down" && !wait_->empty()) {
      return fail(Code::InvalidArgument, "--wait '" + *wait_ + "' is neither 'up' nor 'down'");
    }
    if (wait_) wanted.wait = *wait_ == "down" ? WaitFor::Down : WaitFor::Up;
    if (watch_ && wait_)
      return fail(Code::InvalidArgument, "--watch and --wait exclude each other");
    if (!timeout_) return wanted;
    if (!wait_) return fail(Code::InvalidArgument, "--timeout belongs to --wait");
    const auto time = parse_duration("--timeout", *timeout_, milliseconds(0), kLongestWait);
    if (!time) return tl::unexpected(time.error());
    wanted.at_most = *time;
    return wanted;
  }

  bool json_ = false;
  bool watch_ = false;
  std::optional<std::string> wait_;
  std::optional<std::string> timeout_;
  ClientFlags client_;
};

}  // namespace

Result<Status> read_status(const Config& config) {
  const auto answer = ask_any(config, {Verb::Status}, kAnswerTime);
  // A socket that this user may not use tells nothing when nobody lives behind it.
  const bool unheard = !answer && (answer.error().code == Code::NotFound ||
                                   (answer.error().code == Code::Permission && !find_beacon()));
  if (unheard) return state_without_daemon(config);
  if (!answer) return tl::unexpected(answer.error());
  if (!answer->reply.ok) return fail(Code::Permission, answer->reply.problem);
  for (const auto& [key, value] : answer->reply.fields) {
    if (key == "status") return parse_status(value);
  }
  return fail(Code::Protocol, "the daemon did not tell its status: is it of another version?");
}

std::unique_ptr<Subcommand> make_status_command() { return std::make_unique<StatusCommand>(); }

}  // namespace proxyvpn::app
