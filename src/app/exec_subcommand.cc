#include "app/exec_subcommand.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/capabilities.h"
#include "app/client_options.h"
#include "app/control_client.h"
#include "app/exec_command.h"

namespace proxyvpn::app {
namespace {

constexpr seconds kDirectGroupTime{10};

int run_direct(const Config& config, const std::vector<std::string>& command) {
  const auto answered = ask_any(config, {Verb::Direct, 0}, kDirectGroupTime);
  std::string problem;
  if (!answered) {
    problem = answered.error().message;
  } else if (!answered->reply.ok) {
    problem = answered->reply.problem;
  }
  if (!problem.empty()) {
    std::fprintf(stderr, "proxyvpn: error: %s\n", problem.c_str());
    return kExitNotStarted;
  }
  // An installed binary may carry CAP_NET_ADMIN; execve(2) would not pass it on, but nothing of it
  // shall be left either way. Root stays root.
  if (::geteuid() != 0) static_cast<void>(keep_only({}));
  return execute(command);
}

class ExecSubcommand final : public Subcommand {
 public:
  void define(CLI::App& app) override {
    define_client(app, flags_);
    app.add_flag("--direct", direct_, "Outside of the tunnel, past the killswitch")
        ->group("Network Configuration");
    app.add_option("COMMAND", command_, "What to run, with its arguments, behind '--'")
        ->type_name("")
        ->expected(-1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }

  Result<Action> action(std::optional<std::string> /*proxy_url*/) override {
    if (!direct_) {
      return fail(Code::InvalidArgument,
                  "say --direct: only a command outside of the tunnel needs 'exec'; any other goes "
                  "through the proxy as it is");
    }
    if (command_.empty() || command_.front().empty()) {
      return fail(Code::InvalidArgument, "no command is given: proxyvpn exec --direct -- COMMAND");
    }
    auto config = to_config(flags_);
    if (!config) return tl::unexpected(config.error());
    return Action([config = std::move(*config), this] { return run_direct(config, command_); });
  }

 private:
  ClientFlags flags_;
  bool direct_ = false;
  std::vector<std::string> command_;
};

}  // namespace

std::unique_ptr<Subcommand> make_exec() { return std::make_unique<ExecSubcommand>(); }

}  // namespace proxyvpn::app
