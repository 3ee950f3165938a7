#pragma once
// The text of a configuration file (TOML 1.0) into values of options. Pure: no file is opened here.
#include <string>
#include <string_view>
#include <vector>

#include "app/option_table.h"

namespace proxyvpn::app {

inline constexpr std::size_t kLargestConfigFile = std::size_t{64} * 1024;  // bytes

// One key that is there: its values as they would be typed on the command line.
struct FileValue {
  const OptionRow* row = nullptr;
  std::vector<std::string> values;  // a switch has "true" or "false"
  std::vector<std::string> labels;  // one for each value: "PATH:LINE:COLUMN: mtu"
  std::string source;               // "PATH:LINE"
};

struct ConfigFile {
  std::string path;
  std::vector<FileValue> values;
  std::vector<std::string> mistakes;  // "PATH:LINE:COLUMN: ..."; the value of a secret is in none
};

// Every mistake that can be seen without knowing what a value means: no TOML (only the first, as
// nothing behind it can be read), unknown keys, values of a wrong type.
ConfigFile parse_config_file(std::string_view text, const std::string& path);

}  // namespace proxyvpn::app
