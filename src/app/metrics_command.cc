#include "app/metrics_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/client_options.h"
#include "app/complain.h"
#include "app/metrics_text.h"
#include "app/status_command.h"

namespace proxyvpn::app {
namespace {

int print_metrics(const Config& config) {
  const auto status = read_status(config);
  const auto text = status ? metrics_text(*status) : tl::unexpected(status.error());
  if (!text) return complain(text.error().message);
  std::fputs(text->c_str(), stdout);
  return 0;
}

class MetricsCommand final : public Subcommand {
 public:
  void define(CLI::App& app) override { define_client(app, client_); }
  Result<Action> action(std::optional<std::string> /*proxy_url*/) override {
    auto config = to_config(client_);
    if (!config) return tl::unexpected(config.error());
    return [config = std::move(*config)] { return print_metrics(config); };
  }

 private:
  ClientFlags client_;
};

}  // namespace

std::unique_ptr<Subcommand> make_metrics_command() { return std::make_unique<MetricsCommand>(); }

}  // namespace proxyvpn::app
