// The rows of option_table.cc as options of CLI11.
#include "app/options.h"

#include <CLI/CLI.hpp>

#include "app/option_table.h"

namespace proxyvpn::app {
namespace {

// One value; when an option that takes one is given twice, CLI11 says so. A list takes one value
// each time: it must not swallow what follows.
struct Definer {
  CLI::App& app;
  UpFlags& flags;
  const OptionRow& row;

  CLI::Option* operator()(std::optional<std::string> UpFlags::*field) const {
    auto* option = app.add_option(row.flag(), flags.*field, row.help);
    if (row.traits.shown_default) option->default_str(row.traits.shown_default);
    return option;
  }
  CLI::Option* operator()(std::string UpFlags::*field) const {
    return app.add_option(row.flag(), flags.*field, row.help)->capture_default_str();
  }
  CLI::Option* operator()(std::vector<std::string> UpFlags::*field) const {
    return app.add_option(row.flag(), flags.*field, row.help)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  CLI::Option* operator()(bool UpFlags::*field) const {
    return app.add_flag(row.flag(), flags.*field, row.help);
  }
};

void define(CLI::App& app, UpFlags& flags, const OptionRow& row) {
  auto* option = std::visit(Definer{app, flags, row}, row.field);
  option->group(group_name(row.group));
  if (!row.is_switch()) option->type_name(row.argument);
  option->each([&flags, name = std::string(row.name)](const std::string&) {
    flags.origins[name] = Origin{Place::CommandLine, "command line", {}};
  });
}

}  // namespace

void define_up(CLI::App& app, UpFlags& flags) {
  for (const auto& row : option_rows()) define(app, flags, row);
}

void define_proxy(CLI::App& app, UpFlags& flags) {
  for (const auto& row : option_rows()) {
    if (row.group == OptionGroup::Proxy) define(app, flags, row);
  }
}

void define_down(CLI::App& app, DownFlags& flags) {
  for (const auto& row : option_rows()) {
    if (row.traits.for_down) define(app, flags, row);
  }
}

std::string UpFlags::label(std::string_view name, std::size_t index) const {
  const auto origin = origins.find(name);
  if (origin != origins.end() && !origin->second.labels.empty()) {
    return origin->second.labels[std::min(index, origin->second.labels.size() - 1)];
  }
  return "--" + std::string(name);
}

Place UpFlags::place(std::string_view name) const {
  const auto origin = origins.find(name);
  return origin == origins.end() ? Place::Default : origin->second.place;
}

}  // namespace proxyvpn::app
