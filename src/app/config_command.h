#pragma once
// `proxyvpn config check [PATH]` and `proxyvpn config show [OPTIONS]`.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "app/options.h"
#include "app/subcommand.h"

namespace proxyvpn::app {

struct ConfigReport {
  std::vector<std::pair<std::string, std::size_t>> files;  // path and number of keys
  std::vector<std::string> warnings;
  std::vector<std::string> mistakes;  // "PATH:LINE:COLUMN: ..."
};
// What is wrong in these files, or in the one that is given.
ConfigReport check_config(const ConfigPaths& paths, const std::optional<std::string>& path);

std::unique_ptr<Subcommand> make_config();

}  // namespace proxyvpn::app
