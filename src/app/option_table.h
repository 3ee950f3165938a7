#pragma once
// The one definition of what `up` can be told: the command line (options.cc), the configuration
// file (config_file.cc), `config show` and the completions are all made from these rows. A new
// option is a field of UpFlags and a row here.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "app/options.h"

namespace proxyvpn::app {

enum class OptionGroup : std::uint8_t { Proxy, Network, General };

// The field decides the form: one value (optional or with a default), a list, or a switch.
using OptionField = std::variant<std::optional<std::string> UpFlags::*, std::string UpFlags::*,
                                 std::vector<std::string> UpFlags::*, bool UpFlags::*>;

// Details that few rows have.
struct OptionTraits {
  const char* shown_default = nullptr;  // where the field has none of its own
  const char* choices = "";             // all values, separated by blanks
  const char* excludes = "";            // rows that cannot be given beside this one
  bool in_file = true;                  // may be a key of the configuration file
  bool secret = false;                  // never shown
  bool reloads = false;                 // `reload` applies it without a new start
  bool for_down = false;                // also of `down`, `status` and the like
};

struct OptionRow {
  const char* name;  // without the dashes: also the key in the file
  OptionGroup group;
  OptionField field;
  const char* argument;  // what `--help` calls the value, empty for a switch
  const char* help;
  OptionTraits traits{};

  [[nodiscard]] bool is_switch() const { return std::holds_alternative<bool UpFlags::*>(field); }
  [[nodiscard]] bool is_list() const {
    return std::holds_alternative<std::vector<std::string> UpFlags::*>(field);
  }
  [[nodiscard]] std::string flag() const { return std::string("--") + name; }
};

std::span<const OptionRow> option_rows();
const OptionRow* find_option(std::string_view name);  // without the dashes; null: there is none
const char* group_name(OptionGroup group);

// The words of a row's text with blanks: choices, excludes.
std::vector<std::string> words_of(const char* text);

// What `flags` has for a row: nothing, one value, several; a switch is "true" or "false".
std::vector<std::string> values_of(const UpFlags& flags, const OptionRow& row);
void set_values(UpFlags& flags, const OptionRow& row, const std::vector<std::string>& values);
std::string default_of(const OptionRow& row);

// For a word that is none: the name it may have meant, or nothing.
std::optional<std::string> suggest_option(std::string_view word);

}  // namespace proxyvpn::app
