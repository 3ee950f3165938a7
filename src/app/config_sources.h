#pragma once
// Where the values of options come from besides the command line: the environment and configuration
// files. Which files, whether they can be trusted, and which value wins.
#include <optional>
#include <string>
#include <vector>

#include "app/config_file.h"
#include "app/effective_options.h"
#include "app/options.h"
#include "base/error.h"

namespace proxyvpn::app {

ConfigPaths machine_config_paths();

struct ConfigText {
  std::string text;
  bool world_readable = false;
};
// Code::NotFound: it is not there. A file that is not regular, larger than kLargestConfigFile, or
// that somebody besides root and the user who runs this could have written (owner, mode, and the
// same of its directory) is refused. /dev/null is an empty file. Never waits for a FIFO or a
// device.
Result<ConfigText> read_config_text(const std::string& path);

struct Loaded {
  std::vector<ConfigFile> files;  // the one that wins first
  std::vector<Place> places;      // of each
  std::vector<std::string> warnings;
  std::vector<Error> mistakes;  // of all files, also those that cannot be read
};
// `given`: --config, then only this one, and it must be there.
Loaded load_config_files(const ConfigPaths& paths, const std::optional<std::string>& given);

// Adds to what the command line gave what the environment (PROXYVPN_PROXY_URL) and the files say:
// command line > environment > user's file > system's file. A list replaces a list. Where two
// options exclude each other, the one from the higher place stays.
void merge_sources(UpFlags& flags, const std::optional<std::string>& proxy_url_variable,
                   const Loaded& loaded);

// All of it at once: `flags` becomes what is in force, and what is wrong anywhere comes back. Reads
// files; secrets in `flags` are wiped.
struct Sources {
  UpFlags typed;
  std::optional<std::string> proxy_url;  // PROXYVPN_PROXY_URL
  ConfigPaths paths;
};
// `merged`: what the files and the environment have added to what was typed, without secrets.
Judgement judge_sources(const Sources& sources, JudgeWhat what = {}, UpFlags* merged = nullptr);

// Overwrites the secrets in it.
void wipe_secrets(UpFlags& flags);
void wipe_secrets(Sources& sources);
void wipe_secrets(Config& config, EffectiveOptions& options, Sources& sources);
void wipe_secrets(Loaded& loaded);

}  // namespace proxyvpn::app
