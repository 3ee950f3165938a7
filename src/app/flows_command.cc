#include "app/flows_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <thread>

#include "app/client_options.h"
#include "app/complain.h"
#include "app/flow_client.h"
#include "app/flows_view.h"

namespace proxyvpn::app {
namespace {

constexpr milliseconds kBetweenLooks{500};  // for rates

int list_flows(const Config& config, FlowSort by, bool json) {
  const auto before = read_flows(config);
  if (!before) return complain(before.error().message);
  if (!before->flows.empty()) std::this_thread::sleep_for(kBetweenLooks);
  const auto now = read_flows(config);
  if (!now) return complain(now.error().message);
  auto rows = to_rows(*before, *now);
  std::vector<std::pair<Endpoint, Endpoint>> ends;
  ends.reserve(rows.size());
  for (const auto& row : rows) ends.emplace_back(row.flow.source, row.flow.destination);
  OwnerFinder owners;
  owners.look(ends);
  for (auto& row : rows) {
    if (const auto* owner = owners.find(row.flow.source, row.flow.destination)) row.owner = *owner;
  }
  sort_rows(rows, by);
  const std::string text =
      json ? flows_json(*now, rows, std::time(nullptr)) + "\n" : flows_text(*now, rows);
  std::fputs(text.c_str(), stdout);
  return 0;
}

int end_flow(const Config& config, std::uint64_t id) {
  const auto killed = kill_flow(config, id);
  if (!killed) return complain(killed.error().message);
  std::printf("flow %s was reset\n", connect::flow_id_text(id).c_str());
  return 0;
}

class FlowsCommand final : public Subcommand {
 public:
  void define(CLI::App& app) override {
    app.add_flag("--json", json_, "Answer as JSON")->group("General");
    app.add_option("--sort", sort_, "What comes first")
        ->type_name(std::string(kFlowSorts))
        ->group("General")
        ->capture_default_str();
    define_client(app, client_);
    kill_ = app.add_subcommand("kill", "Reset one connection: both sides see it at once");
    kill_->add_option("ID", id_, "The connection, such as 3.1245: `proxyvpn flows` lists it")
        ->type_name("")
        ->required();
    kill_->fallthrough();  // the options above are good behind it too
  }

  Result<Action> action(std::optional<std::string> /*proxy_url*/) override {
    auto config = to_config(client_);
    if (!config) return tl::unexpected(config.error());
    const auto by = flow_sort_from(sort_);
    if (!by) {
      return fail(Code::InvalidArgument,
                  "--sort '" + sort_ + "' is none of: " + std::string(kFlowSorts));
    }
    if (!kill_->parsed()) {
      return [config = std::move(*config), by = *by, json = json_] {
        return list_flows(config, by, json);
      };
    }
    const auto id = connect::parse_flow_id(id_);
    if (!id) {
      return fail(Code::InvalidArgument, "'" + id_ +
                                             "' is not the ID of a flow: it looks like 3.1245, "
                                             "`proxyvpn flows` shows it");
    }
    return [config = std::move(*config), id = *id] { return end_flow(config, id); };
  }

 private:
  bool json_ = false;
  std::string sort_ = "rate";
  std::string id_;
  CLI::App* kill_ = nullptr;
  ClientFlags client_;
};

}  // namespace

std::unique_ptr<Subcommand> make_flows_command() { return std::make_unique<FlowsCommand>(); }

}  // namespace proxyvpn::app
