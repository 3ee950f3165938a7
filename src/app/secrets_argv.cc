#include "app/secrets_argv.h"

#include <algorithm>
#include <cstring>

namespace proxyvpn::app {
namespace {

constexpr std::string_view kPassword = "--password";
// What our own texts show as an example.
bool is_example(std::string_view word) {
  return word == "http://user:pass@host:port" || word == "http://user:password@host:port";
}

struct Range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// Where the password of "[--option=][scheme://]user:password@host" lies. Up to the last '@', since
// a password that was not percent-encoded may hold any character.
std::optional<Range> find_password(std::string_view text) {
  const auto at = text.rfind('@');
  if (at == std::string_view::npos) return std::nullopt;
  std::size_t start = 0;
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos && scheme < at) {
    start = scheme + 3;
  } else if (text.starts_with("--")) {
    const auto equals = text.find('=');
    if (equals != std::string_view::npos && equals < at) start = equals + 1;
  }
  const auto colon = text.find(':', start);
  if (colon == std::string_view::npos || colon >= at) return std::nullopt;
  return Range{colon + 1, at};
}

void mask(char* text, Range range) { std::fill(text + range.begin, text + range.end, '*'); }

void mask_argument(char* argument, bool whole) {
  const std::string_view text = argument;
  if (whole) return mask(argument, {0, text.size()});
  if (text.starts_with(kPassword) && text.substr(kPassword.size()).starts_with('=')) {
    return mask(argument, {kPassword.size() + 1, text.size()});
  }
  if (const auto range = find_password(text)) mask(argument, *range);
}

}  // namespace

std::vector<std::string> take_arguments(int argc, char** argv) {
  std::vector<std::string> arguments;
  bool value_follows = false;
  for (int i = 1; i < argc; ++i) {
    arguments.emplace_back(argv[i]);
    mask_argument(argv[i], value_follows);
    value_follows = arguments.back() == kPassword;
  }
  return arguments;
}

std::optional<std::string> take_variable(char** environment, std::string_view name) {
  for (char** entry = environment; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with(name) || !text.substr(name.size()).starts_with('=')) continue;
    char* value = *entry + name.size() + 1;
    std::string copy = value;
    mask_argument(value, false);
    return copy;
  }
  return std::nullopt;
}

std::string redact(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const auto end = std::min(text.find_first_of(" \t\n'\""), text.size());
    const auto word = text.substr(0, end);
    const auto range = find_password(word);
    if (range && !is_example(word)) {
      result += word.substr(0, range->begin);
      result += "***";
      result += word.substr(range->end);
    } else {
      result += word;
    }
    if (end < text.size()) result += text[end];
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result;
}

}  // namespace proxyvpn::app
