#include "app/run_subcommand.h"

#include <CLI/CLI.hpp>

#include "app/config_sources.h"
#include "app/run_session.h"

namespace proxyvpn::app {
namespace {

// One error of them, a line each.
Error all_of(const std::vector<Error>& mistakes) {
  Error error = mistakes.front();
  for (std::size_t i = 1; i < mistakes.size(); ++i) error.message += "\n" + mistakes[i].message;
  return error;
}

class RunSubcommand final : public Subcommand {
 public:
  void define(CLI::App& app) override {
    define_proxy(app, flags_);
    app.add_option("--config", flags_.config,
                   "Read this configuration file, and not those of the system and of the user")
        ->type_name("PATH")
        ->group("General");
    app.add_flag("--verbose", flags_.verbose, "Verbose logging, one line per connection")
        ->group("General")
        ->each([this](const std::string&) {
          flags_.origins["verbose"] = Origin{Place::CommandLine, "command line", {}};
        });
    app.add_option("COMMAND", command_, "What to run, with its arguments, behind '--'")
        ->type_name("")
        ->expected(-1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }

  Result<Action> action(std::optional<std::string> proxy_url) override {
    if (command_.empty() || command_.front().empty()) {
      return fail(Code::InvalidArgument,
                  "no command is given: proxyvpn run --proxy-url http://host:port -- COMMAND");
    }
    Sources sources{std::move(flags_), std::move(proxy_url), machine_config_paths()};
    auto judgement = judge_sources(sources);
    wipe_secrets(sources);
    if (!judgement.mistakes.empty()) return tl::unexpected(all_of(judgement.mistakes));
    // std::function wants what it holds to be copyable.
    auto request = std::make_shared<RunRequest>();
    request->config = std::move(judgement.checked.config);
    request->warnings = std::move(judgement.checked.warnings);
    request->command = command_;
    return Action([request] { return run_in_private_network(std::move(*request)); });
  }

 private:
  UpFlags flags_;
  std::vector<std::string> command_;
};

}  // namespace

std::unique_ptr<Subcommand> make_run() { return std::make_unique<RunSubcommand>(); }

}  // namespace proxyvpn::app
