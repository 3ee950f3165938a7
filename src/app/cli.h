#pragma once
// The command line: subcommands, help, version, and which exit code a wrong one gives.
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/config_sources.h"
#include "app/effective_options.h"
#include "app/options.h"
#include "app/subcommand.h"

namespace proxyvpn::app {

enum class Command : std::uint8_t { Up, Down, Counters, Lock, Unlock, Other };

struct CommandLine {
  Command command = Command::Up;
  Config config;
  Sources sources;                    // of `up`: to read it again
  EffectiveOptions options;           // of `up`
  std::vector<std::string> warnings;  // sentences for stderr
  Action action{};                    // Command::Other only
};

// Either a command to run, or a text and an exit code: 0 for --help and --version, 2 for a command
// line that cannot be used, 1 when the machine refused something (the password file).
struct Parsed {
  std::optional<CommandLine> command_line;
  int exit_code = 0;
  std::string output;                      // for stdout
  std::vector<std::string> mistakes;       // sentences for stderr, as errors of the log
  std::string hint;                        // for a person who reads them there
  LogFormat log_format = LogFormat::Auto;  // of the mistakes, as far as it can be told
};

inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

// Overwrites the passwords in `argv` and in PROXYVPN_PROXY_URL of `environment` before anything
// else (secrets_argv.h), then parses. `up` may be left out. `paths`: configuration files instead of
// the machine's. Never throws and never exits.
Parsed parse_command_line(int argc, char** argv, char** environment,
                          const std::optional<ConfigPaths>& paths = std::nullopt);

// What `look` makes of the whole definition, for those that describe it (completions).
void look_at_definition(const std::function<void(const CLI::App& top)>& look);
template <class T>
T with_definition(T (*look)(const CLI::App& top)) {
  T result{};
  look_at_definition([&](const CLI::App& top) { result = look(top); });
  return result;
}

// "proxyvpn 0.1.0"
std::string version_text();

}  // namespace proxyvpn::app
