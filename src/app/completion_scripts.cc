// The scripts themselves.
#include <algorithm>
#include <string>

#include "app/completion.h"
#include "base/joined.h"

namespace proxyvpn::app {
namespace {

// A text between single quotes; such a quote becomes '\''. Not "quoted": with a std::string that
// means std::quoted() wherever <iomanip> happens to be included.
std::string shell_quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

std::string replaced(std::string text, char from, char to) {
  std::replace(text.begin(), text.end(), from, to);
  return text;
}

// Calls `visit(path, command)` for the top ("") and for everything below ("config show").
template <class Visit>
void walk(const CompletedCommand& command, const std::string& path, const Visit& visit) {
  visit(path, command);
  for (const auto& below : command.commands) {
    walk(below, path.empty() ? below.name : path + " " + below.name, visit);
  }
}

std::vector<std::string> names_of(const CompletedCommand& command) {
  std::vector<std::string> names;
  for (const auto& below : command.commands) names.push_back(below.name);
  return names;
}

std::vector<std::string> spellings(const CompletedOption& option) {
  std::vector<std::string> names;
  if (!option.name.empty()) names.push_back(option.name);
  if (!option.short_name.empty()) names.push_back(option.short_name);
  return names;
}

// --- bash ---

std::string bash_values(const CompletedOption& option) {
  switch (option.completes) {
    case Completes::Nothing:
      return ":";
    case Completes::Files:
      return "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")";
    case Completes::Users:
      return "mapfile -t COMPREPLY < <(compgen -u -- \"$cur\")";
    case Completes::Commands:
      return "mapfile -t COMPREPLY < <(compgen -c -- \"$cur\")";
    case Completes::Choices:
      return "mapfile -t COMPREPLY < <(compgen -W " + shell_quoted(joined(option.choices, " ")) +
             " -- \"$cur\")";
  }
  return ":";
}

constexpr const char* kBashHead =
    R"(# bash completion for proxyvpn, made by `proxyvpn completion bash`
_proxyvpn() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} path='' word i
  COMPREPLY=()
  # --option=value comes as three words.
  if [[ $cur == '=' ]]; then
    cur=''
  elif [[ $prev == '=' && COMP_CWORD -ge 2 ]]; then
    prev=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case "$path:$word" in
)";

std::string bash_paths(const CompletedCommand& top) {
  std::string text;
  walk(top, "", [&](const std::string& path, const CompletedCommand& command) {
    for (const auto& below : command.commands) {
      const std::string whole = path.empty() ? below.name : path + " " + below.name;
      text += "      " + shell_quoted(path + ":" + below.name) + ") path=" + shell_quoted(whole) +
              " ;;\n";
    }
  });
  return text + "      :-*) path=up ;;\n";
}

}  // namespace

std::string bash_completion(const CompletedCommand& top) {
  std::string text = kBashHead + bash_paths(top) + "    esac\n  done\n  case \"$path:$prev\" in\n";
  walk(top, "", [&](const std::string& path, const CompletedCommand& command) {
    for (const auto& option : command.options) {
      if (option.argument.empty()) continue;
      text += "    " + shell_quoted(path + ":" + option.name) + ")\n      " + bash_values(option) +
              "\n      return\n      ;;\n";
    }
  });
  text += "  esac\n  case $path in\n";
  walk(top, "", [&](const std::string& path, const CompletedCommand& command) {
    auto words = names_of(command);
    text += "    " + shell_quoted(path) + ")\n";
    text += "      if [[ $cur != -* ]]; then\n        ";
    if (!words.empty()) {
      text += "mapfile -t COMPREPLY < <(compgen -W " + shell_quoted(joined(words, " ")) +
              " -- \"$cur\")";
    } else {
      text += command.words.empty() ? ":" : bash_values(command.words.front());
    }
    text += "\n        return\n      fi\n";
    std::vector<std::string> options;
    for (const auto& option : command.options) {
      for (auto& name : spellings(option)) options.push_back(std::move(name));
    }
    text += "      mapfile -t COMPREPLY < <(compgen -W " + shell_quoted(joined(options, " ")) +
            " -- \"$cur\")\n      ;;\n";
  });
  return text + "  esac\n}\ncomplete -F _proxyvpn proxyvpn\n";
}

// --- zsh ---

namespace {

std::string zsh_action(const CompletedOption& option) {
  switch (option.completes) {
    case Completes::Nothing:
      return " ";
    case Completes::Files:
      return "_files";
    case Completes::Users:
      return "_users";
    case Completes::Commands:
      return "_command_names";
    case Completes::Choices:
      return "(" + joined(option.choices, " ") + ")";
  }
  return " ";
}

// Brackets end an explanation, colons the part of a specification.
std::string zsh_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("[]:\\").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string zsh_option(const CompletedOption& option, const std::string& name) {
  std::string text = option.repeats ? "*" : "";
  text += name;
  if (!option.argument.empty() && name.starts_with("--")) text += "=";
  text += "[" + zsh_text(option.help) + "]";
  if (!option.argument.empty()) {
    text += ":" + zsh_text(option.argument) + ":" + zsh_action(option);
  }
  return shell_quoted(text);
}

std::string zsh_function(const std::string& path) {
  return path.empty() ? "_proxyvpn" : "_proxyvpn_" + replaced(path, ' ', '_');
}

std::string zsh_arguments(const CompletedCommand& command) {
  std::string text = "  _arguments -S :";
  for (const auto& option : command.options) {
    for (const auto& name : spellings(option)) text += " \\\n    " + zsh_option(option, name);
  }
  for (const auto& word : command.words) {
    text += " \\\n    " + shell_quoted(std::string(word.repeats ? "*" : "") + ":" +
                                       zsh_text(word.argument) + ":" + zsh_action(word));
  }
  return text + "\n";
}

// A word that is a command leads to that command's function; an option at the top is one of `up`.
std::string zsh_dispatch(const std::string& path, const CompletedCommand& command) {
  std::string text =
      "  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n    local -a commands=(\n";
  for (const auto& below : command.commands) {
    text += "      " + shell_quoted(below.name + ":" + zsh_text(below.help)) + "\n";
  }
  text += "    )\n    _describe command commands\n    return\n  fi\n  case $words[2] in\n";
  for (const auto& below : command.commands) {
    const std::string whole = path.empty() ? below.name : path + " " + below.name;
    text += "    " + below.name + ")\n      shift words\n      (( CURRENT-- ))\n      " +
            zsh_function(whole) + "\n      return\n      ;;\n";
  }
  return text + "  esac\n";
}

}  // namespace

std::string zsh_completion(const CompletedCommand& top) {
  std::string text = "#compdef proxyvpn\n# zsh completion, made by `proxyvpn completion zsh`\n";
  walk(top, "", [&](const std::string& path, const CompletedCommand& command) {
    text += zsh_function(path) + "() {\n";
    if (!command.commands.empty()) text += zsh_dispatch(path, command);
    text += zsh_arguments(command) + "}\n";
  });
  // Sourced, it registers itself; found in $fpath, it is the function's own text.
  return text +
         "if [[ $funcstack[1] == _proxyvpn ]]; then\n  _proxyvpn \"$@\"\nelse\n"
         "  compdef _proxyvpn proxyvpn\nfi\n";
}

// --- fish ---

namespace {

std::string fish_values(const CompletedOption& option) {
  switch (option.completes) {
    case Completes::Nothing:
      return " -x";
    case Completes::Files:
      return " -r -F";
    case Completes::Users:
      return " -x -a '(__fish_complete_users)'";
    case Completes::Commands:
      return " -x -a '(__fish_complete_command)'";
    case Completes::Choices:
      return " -x -a " + shell_quoted(joined(option.choices, " "));
  }
  return "";
}

// In fish a quote within single quotes is \'.
std::string fish_quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') result += '\\';
    result += c;
  }
  return result + "'";
}

std::string fish_line(const std::string& path, const std::string& rest, const std::string& help) {
  return "complete -c proxyvpn -n " + fish_quoted("__proxyvpn_at \"" + path + "\"") + rest +
         " -d " + fish_quoted(help) + "\n";
}

std::string fish_option(const CompletedOption& option) {
  std::string text;
  if (!option.name.empty()) text += " -l " + option.name.substr(2);
  if (!option.short_name.empty()) text += " -s " + option.short_name.substr(1);
  return option.argument.empty() ? text : text + fish_values(option);
}

constexpr const char* kFishHead =
    R"(# fish completion for proxyvpn, made by `proxyvpn completion fish`
# True when the words so far lead to this command.
function __proxyvpn_at
  set -l path ''
  set -l words (commandline -opc)
  for word in $words[2..-1]
    switch "$path:$word"
)";

}  // namespace

std::string fish_completion(const CompletedCommand& top) {
  std::string text = kFishHead;
  walk(top, "", [&](const std::string& path, const CompletedCommand& command) {
    for (const auto& below : command.commands) {
      const std::string whole = path.empty() ? below.name : path + " " + below.name;
      text += "      case " + shell_quoted(path + ":" + below.name) + "\n        set path " +
              shell_quoted(whole) + "\n";
    }
  });
  text +=
      "      case ':-*'\n        set path up\n    end\n  end\n  test \"$path\" = "
      "\"$argv[1]\"\nend\n"
      "complete -c proxyvpn -f\n";
  walk(top, "", [&](const std::string& path, const CompletedCommand& command) {
    for (const auto& below : command.commands) {
      text += fish_line(path, " -a " + below.name, below.help);
    }
    for (const auto& option : command.options) {
      text += fish_line(path, fish_option(option), option.help);
    }
    for (const auto& word : command.words) text += fish_line(path, fish_values(word), word.help);
  });
  return text;
}

}  // namespace proxyvpn::app
