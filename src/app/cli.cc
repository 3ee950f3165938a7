#include "app/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>

#include "app/config_sources.h"
#include "app/option_values.h"
#include "app/options.h"
#include "app/secrets_argv.h"
#include "app/subcommand.h"

namespace proxyvpn::app {
namespace {

// Besides `up`: those that act on a daemon from outside, or on what one left, with the options of
// `down`.
struct OutsideCommand {
  Command command;
  const char* name;
  const char* description;
};
constexpr std::array<OutsideCommand, 4> kOutsideCommands{{
    {Command::Down, "down", "Stop, and remove everything that a run left behind"},
    {Command::Counters, "counters", "Show what the killswitch refused, per reason"},
    {Command::Lock, "lock", "Shut this machine until 'up' or 'unlock'"},
    {Command::Unlock, "unlock", "Open a machine that was shut on purpose"},
}};
constexpr std::string_view kProxyUrlVariable = "PROXYVPN_PROXY_URL";

constexpr std::string_view kNoOptions =
    "proxyvpn: no proxy is given. Every TCP connection of this machine goes through it:\n"
    "  proxyvpn up --proxy-url http://user:pass@host:port     start (Ctrl-C or 'proxyvpn down' "
    "stops)\n"
    "  proxyvpn --help                                        every option\n";

constexpr const char* kDescription =
    "Sends every TCP connection of this machine through an HTTP proxy (CONNECT).";
constexpr std::string_view kFooter =
    "A password is best given with --password-file, and every option may stand in a file\n"
    "(man proxyvpn.toml). --dry-run shows what would be done. 'proxyvpn down' stops, and removes\n"
    "everything that a run left behind. Each command has a --help.\n";

constexpr std::size_t kCommandColumn = 14;
constexpr std::size_t kColumn = 32;  // where explanations start
constexpr std::size_t kWidth = 80;   // a terminal's
constexpr char kNoBreak = '\x1f';    // a blank that no line ends at

// Appends `words` with line breaks at blanks, indented to kColumn; `line` is the current length.
void append_wrapped(std::string& text, std::string_view words, std::size_t line) {
  while (!words.empty()) {
    const auto end = std::min(words.find(' '), words.size());
    if (line + 1 + end > kWidth && line > kColumn) {
      text += "\n" + std::string(kColumn, ' ');
      line = kColumn;
    } else if (line > kColumn) {
      text += ' ';
      ++line;
    }
    text += words.substr(0, end);
    line += end;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
}

// "--tun-name <NAME>" and "[default: tun0]" behind the explanation, within 80 columns.
class HelpFormat : public CLI::Formatter {
 public:
  HelpFormat() { label("Positionals", "Words"); }
  // "  show   Show the effective values", in the options' columns.
  std::string make_subcommand(const CLI::App* command) const override {
    std::string text = "  " + command->get_name();
    text += std::string(kColumn - std::min(kColumn, text.size()), ' ');
    append_wrapped(text, command->get_description(), kColumn);
    return text + '\n';
  }
  std::string make_option(const CLI::Option* option, bool /*positional*/) const override {
    std::string text = "  " + option->get_name(false, true);
    if (const auto comma = text.find(','); comma != std::string::npos) text.insert(comma + 1, " ");
    if (!option->get_type_name().empty()) text += " <" + option->get_type_name() + ">";
    std::string words = option->get_description();
    if (!option->get_default_str().empty())
      words += std::string(" [default:") + kNoBreak + option->get_default_str() + "]";
    if (text.size() + 2 > kColumn) text += '\n';
    const std::size_t used = text.ends_with('\n') ? 0 : text.size();
    text += std::string(kColumn - used, ' ');
    append_wrapped(text, words, kColumn);
    std::replace(text.begin(), text.end(), kNoBreak, ' ');
    return text + '\n';
  }
};

// The flags that it fills live beside it. With a command's name the others have names and no
// options: making all of them is a tenth of the time that it takes to start.
struct Definition {
  UpFlags up_flags;
  DownFlags down_flags;
  CLI::App app{kDescription, "proxyvpn"};
  CLI::App* up = nullptr;
  std::array<CLI::App*, kOutsideCommands.size()> outside{};
  struct Other {
    std::shared_ptr<Subcommand> command;
    CLI::App* app = nullptr;
  };
  std::vector<Other> others;  // in the order of subcommands()

  explicit Definition(const std::optional<std::string>& only = {}) {
    const auto wanted = [&only](std::string_view name) { return !only || *only == name; };
    app.formatter(std::make_shared<HelpFormat>());
    app.require_subcommand(1);
    app.set_version_flag("--version", version_text());
    up = app.add_subcommand("up", "Start (also when no command is given)");
    if (wanted("up")) {
      define_up(*up, up_flags);
      add_common(*up);
    }
    for (std::size_t i = 0; i < outside.size(); ++i) {
      outside[i] = app.add_subcommand(kOutsideCommands[i].name, kOutsideCommands[i].description);
      if (!wanted(kOutsideCommands[i].name)) continue;
      define_down(*outside[i], down_flags);
      add_common(*outside[i]);
    }
    for (const auto& entry : subcommands()) {
      others.push_back({entry.make(), app.add_subcommand(entry.name, entry.description)});
      if (!wanted(entry.name)) continue;
      others.back().command->define(*others.back().app);
      add_common(*others.back().app);
    }
    app.set_help_flag("-h,--help", "Print this help");
  }

  static void add_common(CLI::App& command) {
    command.set_help_flag("-h,--help", "Print this help")->group("General");
    command.set_version_flag("--version", version_text(), "Print the version")->group("General");
    command.formatter(std::make_shared<HelpFormat>());
    for (auto* below : command.get_subcommands(nullptr)) {
      below->group("Commands");
      add_common(*below);
    }
  }
  // Null: it is `up`.
  [[nodiscard]] const OutsideCommand* chosen() const {
    for (std::size_t i = 0; i < outside.size(); ++i) {
      if (outside[i]->parsed()) return &kOutsideCommands[i];
    }
    return nullptr;
  }
  [[nodiscard]] const Other* chosen_other() const {
    const auto found = std::find_if(others.begin(), others.end(),
                                    [](const Other& other) { return other.app->parsed(); });
    return found == others.end() ? nullptr : &*found;
  }
  [[nodiscard]] CLI::App& chosen_app() const {
    if (const Other* other = chosen_other()) return *other->app;
    for (CLI::App* command : outside) {
      if (command->parsed()) return *command;
    }
    return *up;
  }
};

bool is_command(std::string_view word) {
  const auto is_it = [&](const auto& command) { return word == command.name; };
  const auto others = subcommands();
  return word == "up" || std::any_of(kOutsideCommands.begin(), kOutsideCommands.end(), is_it) ||
         std::any_of(others.begin(), others.end(), is_it);
}

std::string usage_and_options(const CLI::App& command, const std::string& usage) {
  std::string text = command.help();
  // CLI11 starts with its own description and usage line; the groups follow.
  text.erase(0, text.find('\n', text.find("Usage:")));
  text.erase(0, text.find_first_not_of('\n'));
  for (auto gap = text.find("\n\n\n"); gap != std::string::npos; gap = text.find("\n\n\n")) {
    text.erase(gap, 1);
  }
  text.erase(text.find_last_not_of('\n') + 1);
  return "Usage: " + usage + "\n\n" + text + "\n";
}

std::string command_list(const Definition& definition) {
  std::string text = "Commands:";
  for (const auto* command : definition.app.get_subcommands(nullptr)) {
    text += "\n  " + command->get_name();
    text.append(kCommandColumn - std::min(kCommandColumn - 2, command->get_name().size()), ' ');
    text += command->get_description();
  }
  return text;
}

// The top level's help names the commands and, since `up` is the default, its options.
std::string full_help(const Definition& definition) {
  return std::string(kDescription) + "\n\n" +
         usage_and_options(*definition.up,
                           "proxyvpn [up] [OPTIONS]\n       proxyvpn COMMAND [OPTIONS]\n\n" +
                               command_list(definition)) +
         "\n" + std::string(kFooter);
}

// " [OPTIONS] [PATH]", " COMMAND [OPTIONS]", " [OPTIONS] -- COMMAND ..."
std::string words_behind(const CLI::App& command) {
  std::string text;
  if (!command.get_subcommands(nullptr).empty()) {
    text += command.get_require_subcommand_min() > 0 ? " COMMAND" : " [COMMAND]";
  }
  text += " [OPTIONS]";
  for (const auto* word : command.get_options()) {
    if (!word->get_positional()) continue;
    const std::string name = word->get_name(true);
    const bool many = word->get_items_expected_max() > 1;
    text += many ? " -- " + name + " ..." : word->get_required() ? " " + name : " [" + name + "]";
  }
  return text;
}

// Of the command that was reached: `config show` has a help of its own.
std::string outside_help(const CLI::App& first) {
  const CLI::App* command = &first;
  std::string name = "proxyvpn " + command->get_name();
  for (auto below = command->get_subcommands(); !below.empty();
       below = command->get_subcommands()) {
    command = below.front();
    name += " " + command->get_name();
  }
  return command->get_description() + ".\n\n" +
         usage_and_options(*command, name + words_behind(*command));
}

Parsed usage_error(const std::string& sentence, std::string_view command,
                   LogFormat format = LogFormat::Auto) {
  Parsed parsed;
  parsed.log_format = format;
  parsed.exit_code = kExitUsage;
  parsed.mistakes = {redact(sentence)};
  parsed.hint = "See: proxyvpn " + std::string(command) + " --help\n";
  return parsed;
}

// Values of words that nobody expects may be a part of a password with a blank in it: they are
// named only when no password was on the command line.
std::string unexpected_words(const std::vector<std::string>& words, bool password_given,
                             bool for_up) {
  for (const auto& word : words) {
    if (is_command(word)) {
      return std::string("the command '")
          .append(word)
          .append("' must stand in front of the options: proxyvpn ")
          .append(word)
          .append(" [OPTIONS]");
    }
  }
  const auto option = std::find_if(words.begin(), words.end(),
                                   [](const std::string& word) { return word.starts_with('-'); });
  if (option != words.end()) {
    return "there is no option '" + option->substr(0, option->find('=')) + "'";
  }
  if (password_given || words.empty()) {
    return "a word stands where none is expected (a value with a blank in it needs quotes)";
  }
  return "'" + words.front() + "' stands where no word is expected" +
         (for_up ? "; a proxy is given with --proxy-url" : "");
}

// --log-format of a command line that cannot be used.
LogFormat asked_format(const std::vector<std::string>& arguments) {
  constexpr std::string_view kOption = "--log-format";
  std::string_view value = "auto";
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i];
    if (word == kOption && i + 1 < arguments.size()) value = arguments[i + 1];
    if (word.starts_with(kOption) && word.substr(kOption.size()).starts_with('='))
      value = word.substr(kOption.size() + 1);
  }
  return parse_log_format(kOption, value).value_or(LogFormat::Auto);
}

// CLI11's exceptions as our sentences. Its texts for the remaining kinds name options only.
Parsed explain(const CLI::ParseError& error, Definition& definition,
               const std::vector<std::string>& arguments) {
  const CLI::App& command = definition.chosen_app();
  const std::string name = command.get_name();
  const bool for_up = &command == definition.up;
  const LogFormat format = for_up ? asked_format(arguments) : LogFormat::Auto;
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const bool password_given =
        std::any_of(arguments.begin(), arguments.end(), [](const std::string& word) {
          return word.starts_with("--password") && !word.starts_with("--password-file");
        });
    return usage_error(unexpected_words(command.remaining(), password_given, for_up), name, format);
  }
  return usage_error(error.what(), name, format);
}

Parsed finish(Result<Checked> checked, Command command, std::string_view name) {
  if (!checked) {
    auto parsed = usage_error(checked.error().message, name);
    if (checked.error().code != Code::InvalidArgument) {
      parsed.exit_code = kExitFailure;
      parsed.hint.clear();
    }
    return parsed;
  }
  Parsed parsed;
  parsed.command_line =
      CommandLine{command, std::move(checked->config), {}, {}, std::move(checked->warnings), {}};
  return parsed;
}

Parsed finish(const Definition::Other& chosen, std::optional<std::string> variable) {
  auto action = chosen.command->action(std::move(variable));
  auto parsed = finish(action ? Result<Checked>(Checked{}) : tl::unexpected(action.error()),
                       Command::Other, chosen.app->get_name());
  if (action) {
    parsed.command_line->action = [command = chosen.command, act = std::move(*action)] {
      return act();
    };
  }
  return parsed;
}

// A daemon that goes into the background leaves the directory it was started in, and reads its
// files again later.
void make_absolute(std::optional<std::string>& path) {
  std::error_code error;
  if (!path || path->empty() || *path == "-") return;
  const auto absolute = std::filesystem::absolute(*path, error);
  if (!error) path = absolute.string();
}

// Every mistake is a line: a file may have many.
Parsed finish_up(Definition& definition, std::optional<std::string> variable,
                 const ConfigPaths& paths, bool nothing_typed) {
  Sources sources{std::move(definition.up_flags), std::move(variable), paths};
  make_absolute(sources.typed.config);
  make_absolute(sources.typed.password_file);
  UpFlags merged;
  auto judgement = judge_sources(sources, {}, &merged);
  if (judgement.mistakes.empty()) {
    auto options = effective_options(merged, judgement);
    Parsed parsed = finish(std::move(judgement.checked), Command::Up, "up");
    parsed.command_line->sources = std::move(sources);
    parsed.command_line->options = std::move(options);
    return parsed;
  }
  wipe_secrets(sources);
  Parsed parsed = finish(tl::unexpected(judgement.mistakes.back()), Command::Up, "up");
  parsed.log_format = parse_log_format("", merged.log_format).value_or(LogFormat::Auto);
  const bool person = parsed.log_format == LogFormat::Auto || parsed.log_format == LogFormat::Text;
  if (person && nothing_typed && judgement.no_proxy && judgement.mistakes.size() == 1) {
    parsed.mistakes.clear();
    parsed.hint = kNoOptions;
    return parsed;
  }
  parsed.mistakes.clear();
  for (const auto& mistake : judgement.mistakes) {
    parsed.mistakes.push_back(redact(mistake.message));
  }
  return parsed;
}

Parsed text_and_success(std::string text) {
  Parsed parsed;
  parsed.output = std::move(text);
  return parsed;
}

Parsed parse_words(std::vector<std::string> arguments, std::optional<std::string> variable,
                   const std::optional<ConfigPaths>& paths) {
  const bool nothing_typed = arguments.empty();
  const std::string first = arguments.empty() ? "" : arguments.front();
  if (first == "--version") return text_and_success(version_text() + "\n");
  const bool wants_help = first == "--help" || first == "-h";
  if (!is_command(first)) arguments.insert(arguments.begin(), "up");
  Definition definition(arguments.front());
  if (wants_help) return text_and_success(full_help(definition));
  definition.down_flags.paths = paths;
  try {
    // CLI11 takes its words from the back.
    definition.app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    return text_and_success(&definition.chosen_app() == definition.up
                                ? full_help(definition)
                                : outside_help(definition.chosen_app()));
  } catch (const CLI::CallForVersion&) {
    return text_and_success(version_text() + "\n");
  } catch (const CLI::ParseError& error) {
    return explain(error, definition, arguments);
  }
  if (const auto* chosen = definition.chosen()) {
    return finish(to_config(definition.down_flags), chosen->command, chosen->name);
  }
  if (const auto* other = definition.chosen_other()) {
    return finish(*other, std::move(variable));
  }
  return finish_up(definition, std::move(variable), paths ? *paths : machine_config_paths(),
                   nothing_typed);
}

}  // namespace

void look_at_definition(const std::function<void(const CLI::App& top)>& look) {
  look(Definition().app);
}

std::string version_text() { return "proxyvpn " PROXYVPN_VERSION; }

Parsed parse_command_line(int argc, char** argv, char** environment,
                          const std::optional<ConfigPaths>& paths) {
  auto arguments = take_arguments(argc, argv);
  auto variable = take_variable(environment, kProxyUrlVariable);
  try {
    return parse_words(std::move(arguments), std::move(variable), paths);
  } catch (const std::exception& error) {
    // A mistake in the definition of the options, or no memory.
    Parsed parsed;
    parsed.exit_code = kExitFailure;
    parsed.mistakes = {std::string("the command line cannot be read: ") + redact(error.what())};
    return parsed;
  }
}

}  // namespace proxyvpn::app
