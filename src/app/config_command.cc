// `proxyvpn config check` and `proxyvpn config show`.
#include "app/config_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/config_sources.h"
#include "app/option_table.h"
#include "app/secrets_argv.h"

namespace proxyvpn::app {
namespace {

constexpr const char* kMask = "***";

// --- check ---

void add_new(std::vector<std::string>& sentences, const std::vector<Error>& mistakes) {
  for (const auto& mistake : mistakes) {
    const std::string sentence = redact(mistake.message);
    if (std::find(sentences.begin(), sentences.end(), sentence) == sentences.end()) {
      sentences.push_back(sentence);
    }
  }
}

void print_lines(std::FILE* to, const std::vector<std::string>& lines, const char* before = "") {
  for (const auto& line : lines) std::fprintf(to, "%s%s\n", before, line.c_str());
}

// Each file alone, as what another place overrides is a mistake all the same; then together.
ConfigReport check_loaded(Loaded loaded) {
  ConfigReport report;
  const JudgeWhat what{.proxy_needed = false, .read_password = true, .standard_input = false};
  std::vector<Error> mistakes = loaded.mistakes;
  report.warnings = loaded.warnings;
  add_new(report.mistakes, mistakes);
  const auto judge_files = [&](const Loaded& files) {
    UpFlags flags;
    merge_sources(flags, std::nullopt, files);
    const auto judgement = judge(flags, what);
    wipe_secrets(flags);
    add_new(report.mistakes, judgement.mistakes);
    const auto& more = judgement.checked.warnings;
    for (const auto& warning : more) {
      const auto end = report.warnings.end();
      if (std::find(report.warnings.begin(), end, warning) == end) {
        report.warnings.push_back(warning);
      }
    }
  };
  for (std::size_t i = 0; i < loaded.files.size(); ++i) {
    Loaded alone;
    alone.files.push_back(loaded.files[i]);
    alone.places.push_back(loaded.places[i]);
    judge_files(alone);
    wipe_secrets(alone);
    report.files.emplace_back(loaded.files[i].path, loaded.files[i].values.size());
  }
  judge_files(loaded);
  wipe_secrets(loaded);
  return report;
}

int print_check(const ConfigReport& report, const ConfigPaths& paths) {
  print_lines(stderr, report.warnings, "warning: ");
  print_lines(stdout, report.mistakes);
  if (!report.mistakes.empty()) return 1;
  for (const auto& [path, keys] : report.files) {
    std::printf("%s: good, %zu %s\n", path.c_str(), keys, keys == 1 ? "key" : "keys");
  }
  if (report.files.empty()) {
    std::printf("there is no configuration file: neither %s nor %s\n", paths.system.c_str(),
                paths.user.empty() ? "one of the user" : paths.user.c_str());
  }
  return 0;
}

// --- show ---

std::string shown_value(const UpFlags& flags, const OptionRow& row) {
  std::string text;
  for (const auto& value : values_of(flags, row)) {
    if (!text.empty()) text += ", ";
    if (!row.traits.secret) {
      text += value;
    } else if (std::string_view(row.name) == "proxy-url") {
      text += redact(value);
    } else {
      text += kMask;
    }
  }
  return text.empty() ? default_of(row) : text;
}

std::string source_of(const UpFlags& flags, const OptionRow& row) {
  const auto origin = flags.origins.find(row.name);
  return origin == flags.origins.end() ? "default" : origin->second.source;
}

const char* kind_of(Place place) {
  switch (place) {
    case Place::Default:
      return "default";
    case Place::SystemFile:
    case Place::UserFile:
      return "file";
    case Place::Environment:
      return "environment";
    case Place::CommandLine:
      return "command line";
  }
  return "";
}

nlohmann::ordered_json json_value(const UpFlags& flags, const OptionRow& row) {
  if (row.is_switch()) return values_of(flags, row).front() == "true";
  if (row.is_list() && !row.traits.secret) return values_of(flags, row);
  const std::string text = shown_value(flags, row);
  const bool nothing = text.empty() && values_of(flags, row).empty();
  return nothing ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
}

std::string json_text(const UpFlags& flags) {
  nlohmann::ordered_json options = nlohmann::ordered_json::array();
  for (const auto& row : option_rows()) {
    options.push_back({{"name", row.name},
                       {"value", json_value(flags, row)},
                       {"from", kind_of(flags.place(row.name))},
                       {"source", source_of(flags, row)}});
  }
  const nlohmann::ordered_json document = {{"version", 1}, {"options", std::move(options)}};
  // Bytes that are no UTF-8 become U+FFFD instead of an exception.
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string table_text(const UpFlags& flags) {
  std::size_t names = 0;
  std::size_t values = 0;
  for (const auto& row : option_rows()) {
    names = std::max(names, std::string_view(row.name).size());
    values = std::max(values, std::min<std::size_t>(shown_value(flags, row).size(), 40));
  }
  std::string text;
  for (const auto& row : option_rows()) {
    std::string value = shown_value(flags, row);
    if (value.empty()) value = "-";
    const std::string_view name = row.name;
    const std::size_t gap = value.size() < values ? values - value.size() : 0;
    text.append(name).append(names - name.size() + 2, ' ');
    text.append(value).append(gap + 2, ' ');
    text.append(source_of(flags, row)).append("\n");
  }
  return text;
}

class ConfigCommand : public Subcommand {
 public:
  void define(CLI::App& app) override {
    app.require_subcommand(1);
    check_ = app.add_subcommand("check", "Say every mistake in the configuration file");
    check_->add_option("PATH", path_, "The file; without it those that `up` would read")
        ->type_name("");
    auto* show = app.add_subcommand("show", "Show the effective values and where each comes from");
    show->add_flag("--json", json_, "As JSON")->group("General");
    define_up(*show, flags_);
  }

  Result<Action> action(std::optional<std::string> proxy_url) override {
    proxy_url_ = std::move(proxy_url);
    if (check_->parsed()) return Action([this] { return check(); });
    return Action([this] { return show(); });
  }

 private:
  int check() const {
    const auto paths = machine_config_paths();
    return print_check(check_config(paths, path_), paths);
  }

  int show() {
    auto loaded = load_config_files(machine_config_paths(), flags_.config);
    merge_sources(flags_, proxy_url_, loaded);
    const std::string text = json_ ? json_text(flags_) : table_text(flags_);
    auto judgement = judge(flags_, {.proxy_needed = false, .read_password = false});
    wipe_secrets(flags_);
    wipe_secrets(loaded);
    std::fputs(text.c_str(), stdout);
    std::vector<std::string> mistakes;
    add_new(mistakes, loaded.mistakes);
    add_new(mistakes, judgement.mistakes);
    print_lines(stderr, loaded.warnings, "proxyvpn: warning: ");
    print_lines(stderr, mistakes, "proxyvpn: error: ");
    return mistakes.empty() ? 0 : 1;
  }

  CLI::App* check_ = nullptr;
  std::optional<std::string> path_;
  bool json_ = false;
  UpFlags flags_;
  std::optional<std::string> proxy_url_;
};

}  // namespace

ConfigReport check_config(const ConfigPaths& paths, const std::optional<std::string>& path) {
  return check_loaded(load_config_files(paths, path));
}

std::unique_ptr<Subcommand> make_config() { return std::make_unique<ConfigCommand>(); }

}  // namespace proxyvpn::app
