#include "app/doctor_report.h"

#include <algorithm>
#include <string_view>

namespace proxyvpn::app {
namespace {

constexpr std::size_t kMostFailures = 100;
constexpr std::size_t kNarrowest = 20;  // columns for words; below, lines are left whole

// What a person's eye looks for: failures in capitals.
std::string_view word(CheckState state) {
  switch (state) {
    case CheckState::Ok:
      return "ok";
    case CheckState::Warn:
      return "warn";
    case CheckState::Fail:
      return "FAIL";
    case CheckState::Skip:
      return "skip";
  }
  return "?";
}

std::string_view colour_of(CheckState state) {
  switch (state) {
    case CheckState::Ok:
      return "\x1b[32m";
    case CheckState::Warn:
      return "\x1b[33m";
    case CheckState::Fail:
      return "\x1b[1;31m";
    case CheckState::Skip:
      return "\x1b[2m";
  }
  return "";
}

// `words` broken at blanks, every line but the first indented by `indent`.
void append_wrapped(std::string& text, std::string_view words, std::size_t indent,
                    std::size_t width) {
  const std::size_t room = width > indent + kNarrowest ? width - indent : std::string::npos;
  std::size_t line = 0;
  while (!words.empty()) {
    const auto end = std::min(words.find(' '), words.size());
    if (line > 0 && room != std::string::npos && line + 1 + end > room) {
      text += "\n" + std::string(indent, ' ');
      line = 0;
    } else if (line > 0) {
      text += ' ';
      ++line;
    }
    text += words.substr(0, end);
    line += end;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  text += '\n';
}

void append_check(std::string& text, const Check& check, std::size_t names,
                  const ReportStyle& style) {
  const std::string_view state = word(check.state);
  text += "  ";
  if (style.colour) text += colour_of(check.state);
  text += state;
  if (style.colour) text += "\x1b[0m";
  text.append(6 - state.size(), ' ');
  text += check.name;
  text.append(names - check.name.size() + 2, ' ');
  const std::size_t indent = 2 + 6 + names + 2;
  append_wrapped(text, check.finding, indent, style.width);
  if (check.advice.empty()) return;
  text.append(indent, ' ');
  text += "-> ";
  append_wrapped(text, check.advice, indent + 3, style.width);
}

std::string title(const std::string& name) {
  std::string text = name;
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] -= 'a' - 'A';
  return text;
}

std::string amount(std::size_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

std::string summary(const std::vector<CheckGroup>& groups) {
  return amount(count(groups, CheckState::Fail), "failure", "failures") + ", " +
         amount(count(groups, CheckState::Warn), "warning", "warnings") + ", " +
         std::to_string(count(groups, CheckState::Ok)) + " ok, " +
         std::to_string(count(groups, CheckState::Skip)) + " not looked at\n";
}

}  // namespace

std::size_t count(const std::vector<CheckGroup>& groups, CheckState state) {
  std::size_t sum = 0;
  for (const auto& group : groups) sum += group.checks.count(state);
  return sum;
}

int doctor_exit_code(const std::vector<CheckGroup>& groups) {
  return static_cast<int>(std::min(count(groups, CheckState::Fail), kMostFailures));
}

std::string doctor_text(const std::vector<CheckGroup>& groups, const ReportStyle& style) {
  std::size_t names = 0;
  for (const auto& group : groups) {
    for (const auto& check : group.checks.all()) names = std::max(names, check.name.size());
  }
  std::string text;
  for (const auto& group : groups) {
    if (style.colour) text += "\x1b[1m";
    text += title(group.name);
    if (style.colour) text += "\x1b[0m";
    text += '\n';
    for (const auto& check : group.checks.all()) append_check(text, check, names, style);
    text += '\n';
  }
  return text + summary(groups);
}

}  // namespace proxyvpn::app
