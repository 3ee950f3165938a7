#include "app/config_file.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>

#include "app/secrets_argv.h"

namespace proxyvpn::app {
namespace {

std::string place_in(const std::string& path, const toml::source_position& at) {
  return path + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
}

std::string_view line_of(std::string_view text, std::size_t number) {
  for (; number > 1; --number) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

// What is no TOML may be a password without quotes, and the library's sentence repeats it.
bool may_hold_secret(std::string_view line) {
  const auto& rows = option_rows();
  return std::any_of(rows.begin(), rows.end(), [&](const OptionRow& row) {
    return row.traits.secret && line.find(row.name) != std::string_view::npos;
  });
}

std::string syntax_mistake(std::string_view text, const std::string& path,
                           const toml::parse_error& error) {
  const auto& at = error.source().begin;
  std::string sentence = place_in(path, at) + ": this is not TOML: ";
  if (may_hold_secret(line_of(text, at.line))) {
    return sentence + "a text stands in quotes (key = \"text\")";
  }
  sentence += error.description();
  return sentence + " (a line is key = value, and a text stands in quotes)";
}

const char* type_word(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a section";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::none:
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
      break;
  }
  return "a date or time";
}

std::string wanted(const OptionRow& row) {
  if (row.is_switch()) return "true or false, without quotes";
  if (row.is_list()) return "a list of texts such as [\"one\", \"two\"]";
  return "a text in quotes or a number";
}

// A text or a number as it would be typed; nothing for other types.
std::optional<std::string> scalar_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) {
    std::array<char, 64> buffer{};
    const auto [end, error] =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), number->get());
    if (error == std::errc()) return std::string(buffer.data(), end);
  }
  return std::nullopt;
}

bool has_control_character(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

class KeyReader {
 public:
  KeyReader(ConfigFile& file, const OptionRow& row) : file_(file), row_(row) { value_.row = &row; }

  void read(const toml::key& key, const toml::node& node) {
    value_.source = file_.path + ":" + std::to_string(key.source().begin.line);
    const auto* list = node.as_array();
    if (row_.is_switch()) {
      const auto* boolean = node.as_boolean();
      if (!boolean) return wrong_type(node);
      take(node, boolean->get() ? "true" : "false");
    } else if (list && row_.is_list()) {
      for (const auto& item : *list) take_scalar(item);
    } else {
      take_scalar(node);
    }
    if (good_) file_.values.push_back(std::move(value_));
  }

 private:
  std::string label(const toml::node& node) const {
    return place_in(file_.path, node.source().begin) + ": " + row_.name;
  }
  void mistake(const toml::node& node, const std::string& sentence) {
    good_ = false;
    file_.mistakes.push_back(label(node) + ": " + sentence);
  }
  void wrong_type(const toml::node& node) {
    mistake(node, std::string("here stands ") + type_word(node) + "; it must be " + wanted(row_));
  }
  void take_scalar(const toml::node& node) {
    auto text = scalar_text(node);
    if (!text) return wrong_type(node);
    if (has_control_character(*text)) {
      return mistake(
          node, "the text has a control character (a line break?) in it; write it on one line");
    }
    take(node, std::move(*text));
  }
  void take(const toml::node& node, std::string text) {
    value_.values.push_back(std::move(text));
    value_.labels.push_back(label(node));
  }

  ConfigFile& file_;
  const OptionRow& row_;
  FileValue value_;
  bool good_ = true;
};

std::string unknown_key(const std::string& path, const toml::key& key, const toml::node& node) {
  std::string name;
  for (const char c : key.str()) name += has_control_character({&c, 1}) ? '?' : c;
  std::string sentence = place_in(path, key.source().begin) + ": there is no key '" + name + "'";
  if (node.is_table()) return sentence + ": keys stand alone, without sections";
  const auto meant = suggest_option(name);
  if (!meant) return sentence + "; `man proxyvpn.toml` lists them";
  return sentence + "; did you mean '" + *meant + "'?";
}

// A mistake quotes what stands in the file, and is printed on terminals.
void make_printable(std::vector<std::string>& sentences) {
  for (auto& sentence : sentences) {
    for (char& c : sentence) {
      if (c == '\n') c = ' ';
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
  }
}

}  // namespace

ConfigFile parse_config_file(std::string_view text, const std::string& path) {
  ConfigFile file;
  file.path = path;
  const auto parsed = toml::parse(text);
  if (!parsed) {
    file.mistakes.push_back(syntax_mistake(text, path, parsed.error()));
    make_printable(file.mistakes);
    return file;
  }
  for (const auto& [key, node] : parsed.table()) {
    const auto* row = find_option(key.str());
    if (!row) {
      file.mistakes.push_back(unknown_key(path, key, node));
    } else if (!row->traits.in_file) {
      file.mistakes.push_back(place_in(path, key.source().begin) + ": '" + row->name +
                              "' is for the command line only");
    } else {
      KeyReader(file, *row).read(key, node);
    }
  }
  make_printable(file.mistakes);
  return file;
}

}  // namespace proxyvpn::app
