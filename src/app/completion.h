#pragma once
// Shell completions, made from the definition of the command line itself, so that they know every
// command and every option that there is.
#include <memory>
#include <string>
#include <vector>

#include "app/subcommand.h"

namespace proxyvpn::app {

enum class Completes : std::uint8_t { Nothing, Files, Users, Commands, Choices };

struct CompletedOption {
  std::string name;        // "--mtu"; empty for a word that stands alone
  std::string short_name;  // "-h", or empty
  std::string argument;    // "BYTES"; empty for a switch
  std::string help;
  bool repeats = false;
  Completes completes = Completes::Nothing;
  std::vector<std::string> choices;
};

struct CompletedCommand {
  std::string name;  // of the top: empty
  std::string help;
  std::vector<CompletedOption> options;
  std::vector<CompletedOption> words;  // positional
  std::vector<CompletedCommand> commands;
};

// What CLI11 was told. The options of `up` are those of the top too, as the word may be left out.
CompletedCommand completed_command(const CLI::App& app);

// A whole script for the shell, to be sourced or put where the shell looks for completions.
std::string bash_completion(const CompletedCommand& top);
std::string zsh_completion(const CompletedCommand& top);
std::string fish_completion(const CompletedCommand& top);

// `proxyvpn completion bash|zsh|fish`
std::unique_ptr<Subcommand> make_completion();

}  // namespace proxyvpn::app
