// What can be completed, from CLI11's definition, and the command that prints the scripts.
#include "app/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "app/cli.h"
#include "app/option_table.h"

namespace proxyvpn::app {
namespace {

std::vector<std::string> split_choices(const std::string& text) {
  std::vector<std::string> choices;
  std::size_t begin = 0;
  for (auto end = text.find('|'); end != std::string::npos; end = text.find('|', begin)) {
    choices.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (begin > 0) choices.push_back(text.substr(begin));
  return choices;
}

// By the name of the option where it is one of `up`, else by what its value is called.
void describe_value(CompletedOption& option) {
  const auto* row = option.name.empty() ? nullptr : find_option(option.name.substr(2));
  if (row != nullptr) option.choices = words_of(row->traits.choices);
  if (option.choices.empty()) option.choices = split_choices(option.argument);
  if (!option.choices.empty()) {
    option.completes = Completes::Choices;
  } else if (option.name == "--exempt-user") {
    option.completes = Completes::Users;
  } else if (option.argument == "PATH" || option.argument == "FILE") {
    option.completes = Completes::Files;
  } else if (option.argument == "COMMAND") {
    option.completes = Completes::Commands;
  }
}

CompletedOption described(const CLI::Option& option) {
  CompletedOption result;
  if (!option.get_lnames().empty()) result.name = "--" + option.get_lnames().front();
  if (!option.get_snames().empty()) result.short_name = "-" + option.get_snames().front();
  result.help = option.get_description();
  const bool stands_alone = option.get_positional();
  // A switch takes no value, whatever its type is called.
  if (option.get_items_expected_max() > 0) result.argument = option.get_type_name();
  if (stands_alone && result.argument.find('|') == std::string::npos) {
    result.argument = option.get_name(true);
  }
  result.repeats = option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll &&
                   option.get_items_expected_max() > 0;
  describe_value(result);
  return result;
}

class CompletionCommand : public Subcommand {
 public:
  void define(CLI::App& app) override {
    app.add_option("SHELL", shell_, "bash, zsh or fish")->type_name("bash|zsh|fish")->required();
  }
  Result<Action> action(std::optional<std::string> /*proxy_url*/) override {
    std::string (*const make)(const CompletedCommand&) = shell_ == "bash"   ? bash_completion
                                                         : shell_ == "zsh"  ? zsh_completion
                                                         : shell_ == "fish" ? fish_completion
                                                                            : nullptr;
    if (make == nullptr) {
      return fail(Code::InvalidArgument,
                  "completion '" + shell_ + "': the shells are bash, zsh and fish");
    }
    return Action([make] {
      const auto top = with_definition<CompletedCommand>(completed_command);
      return std::fputs(make(top).c_str(), stdout) < 0 ? 1 : 0;
    });
  }

 private:
  std::string shell_;
};

}  // namespace

CompletedCommand completed_command(const CLI::App& app) {
  CompletedCommand command;
  command.name = app.get_parent() == nullptr ? "" : app.get_name();
  command.help = app.get_description();
  for (const auto* option : app.get_options()) {
    auto result = described(*option);
    auto& target =
        result.name.empty() && result.short_name.empty() ? command.words : command.options;
    target.push_back(std::move(result));
  }
  for (const auto* below : app.get_subcommands(nullptr)) {
    command.commands.push_back(completed_command(*below));
  }
  const auto up = std::find_if(command.commands.begin(), command.commands.end(),
                               [](const auto& below) { return below.name == "up"; });
  if (command.name.empty() && up != command.commands.end()) command.options = up->options;
  return command;
}

std::unique_ptr<Subcommand> make_completion() { return std::make_unique<CompletionCommand>(); }

}  // namespace proxyvpn::app
