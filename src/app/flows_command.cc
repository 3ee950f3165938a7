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
    app.add_option("--sort", sort_, "What comes first: " + std::string(kFlowSorts))
        ->type_name("KEY")
        ->group("General")
        ->capture_default_str();
    define_client(app, client_);
    app.add_option("words", words_, "kill ID: reset this flow")->group("");
  }

  Result<Action> action(std::optional<std::string> /*proxy_url*/) override {
    auto config = to_config(client_);
    if (!config) return tl::unexpected(config.error());
    const auto by = flow_sort_from(sort_);
    if (!by) {
      return fail(Code::InvalidArgument,
                  "--sort '" + sort_ + "' is none of: " + std::string(kFlowSorts));
    }
    if (words_.empty()) {
      return [config = std::move(*config), by = *by, json = json_] {
        return list_flows(config, by, json);
      };
    }
    if (words_.front() != "kill" || words_.size() != 2) {
      return fail(Code::InvalidArgument,
                  "after 'flows' comes nothing, or 'kill' and the ID of one flow");
    }
    const auto id = connect::parse_flow_id(words_[1]);
    if (!id) {
      return fail(Code::InvalidArgument, "'" + words_[1] +
                                             "' is not the ID of a flow: it looks like 3.1245, "
                                             "`proxyvpn flows` shows it");
    }
    return [config = std::move(*config), id = *id] { return end_flow(config, id); };
  }

 private:
  bool json_ = false;
  std::string sort_ = "rate";
  std::vector<std::string> words_;
  ClientFlags client_;
};

}  // namespace

std::unique_ptr<Subcommand> make_flows_command() { return std::make_unique<FlowsCommand>(); }

}  // namespace proxyvpn::app
