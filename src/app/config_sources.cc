#include "app/config_sources.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "app/file_mode.h"
#include "base/secret.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

constexpr const char* kVariable = "PROXYVPN_PROXY_URL";
constexpr const char* kBelow = "/proxyvpn/config.toml";

// With a file capability the environment is not to be trusted (secure_getenv(3) answers nothing);
// the user database then says where home is.
std::string user_config_path() {
  const char* const base = ::secure_getenv("XDG_CONFIG_HOME");
  if (base != nullptr && base[0] == '/') return std::string(base) + kBelow;
  const char* const home = ::secure_getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.config" + kBelow;
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(std::size_t{16} * 1024);
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found) {
    return {};
  }
  const std::string directory(found->pw_dir);
  return directory.starts_with('/') ? directory + "/.config" + kBelow : std::string();
}

bool trusted_owner(const struct stat& info) {
  return info.st_uid == 0 || info.st_uid == ::geteuid();
}

tl::unexpected<Error> refused(const std::string& path, const std::string& why,
                              const std::string& mend) {
  return fail(Code::Permission,
              path + ": is not used, as " + why +
                  ", who could lead this machine's traffic elsewhere; run: " + mend);
}

Result<> check_owner_and_mode(const std::string& path, const struct stat& info) {
  if (!trusted_owner(info)) {
    return refused(path, "it belongs to user " + std::to_string(info.st_uid),
                   "chown " + std::to_string(::geteuid()) + " " + path);
  }
  // Group root is root.
  const bool group = (info.st_mode & S_IWGRP) != 0 && info.st_gid != 0;
  if (group || (info.st_mode & S_IWOTH) != 0) {
    return refused(path, "others may write it (mode " + mode_text(info.st_mode) + ")",
                   "chmod go-w " + path);
  }
  return {};
}

// Who may write a directory may put another file in place of this one, but for a sticky one.
Result<> check_directory(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string directory =
      slash == std::string::npos ? "." : (slash == 0 ? "/" : path.substr(0, slash));
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) return fail_errno(errno, directory);
  if ((info.st_mode & S_ISVTX) != 0 && info.st_uid == 0) return {};
  return check_owner_and_mode(directory, info);
}

Result<std::string> read_whole(int fd, const std::string& path) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (text.size() <= kLargestConfigFile) {
    const auto n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, path + ": cannot be read");
    if (n == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return fail(Code::InvalidArgument, path + ": is larger than 64 KiB");
}

Result<> check_file(int fd, const std::string& path, struct stat& info) {
  if (::fstat(fd, &info) != 0) return fail_errno(errno, path + ": cannot be read");
  if (!S_ISREG(info.st_mode)) {
    return fail(Code::InvalidArgument, path + ": is not a regular file");
  }
  if (auto good = check_owner_and_mode(path, info); !good) return good;
  return check_directory(path);
}

bool has_password(const ConfigFile& file) {
  return std::any_of(file.values.begin(), file.values.end(), [](const FileValue& value) {
    if (std::string_view(value.row->name) == "password") return true;
    if (std::string_view(value.row->name) != "proxy-url") return false;
    // user:password@; the scheme has a colon of its own.
    const std::string& url = value.values.front();
    const auto at = url.rfind('@');
    const auto colon = at == std::string::npos ? at : url.rfind(':', at);
    return colon != std::string::npos && url.compare(colon, 3, "://") != 0;
  });
}

void load_one(Loaded& loaded, const std::string& path, Place place, bool must_exist) {
  if (path.empty()) return;
  auto read = read_config_text(path);
  if (!read) {
    if (!must_exist && read.error().code == Code::NotFound) return;
    if (!must_exist && read.error().sys_errno == EACCES) {
      // Not for this user, who may try things out (--dry-run) all the same.
      loaded.warnings.push_back(read.error().message + "; what it says does not count");
      return;
    }
    loaded.mistakes.push_back(read.error());
    return;
  }
  auto file = parse_config_file(read->text, path);
  wipe(read->text);
  for (const auto& sentence : file.mistakes) {
    loaded.mistakes.push_back(Error{Code::InvalidArgument, 0, sentence});
  }
  if (read->world_readable && has_password(file)) {
    loaded.warnings.push_back("the file " + path +
                              " has a password in it and can be read by every user of this "
                              "machine; run: chmod o-rwx " +
                              path);
  }
  loaded.files.push_back(std::move(file));
  loaded.places.push_back(place);
}

// Set, and for a switch: on.
bool in_effect(const UpFlags& flags, const OptionRow& row) {
  if (flags.place(row.name) == Place::Default) return false;
  const auto values = values_of(flags, row);
  return !values.empty() && (!row.is_switch() || values.front() == "true");
}

bool excludes(const OptionRow& one, const OptionRow& other) {
  const auto words = words_of(one.traits.excludes);
  return std::find(words.begin(), words.end(), other.name) != words.end();
}

// A row of this place counts when no higher place has it, or has what it excludes.
bool counts(const UpFlags& flags, const OptionRow& row, Place place) {
  if (flags.place(row.name) > place) return false;
  const auto rows = option_rows();
  return std::none_of(rows.begin(), rows.end(), [&](const OptionRow& other) {
    return (excludes(row, other) || excludes(other, row)) && flags.place(other.name) > place &&
           in_effect(flags, other);
  });
}

void add(UpFlags& flags, const OptionRow& row, const std::vector<std::string>& values,
         Origin origin) {
  if (!counts(flags, row, origin.place)) return;
  set_values(flags, row, values);
  flags.origins[row.name] = std::move(origin);
}

}  // namespace

ConfigPaths machine_config_paths() {
  ConfigPaths paths;
  paths.user = user_config_path();
  return paths;
}

Result<ConfigText> read_config_text(const std::string& path) {
  if (path == "/dev/null") return ConfigText{};
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!file) {
    // A part of the path that is no directory: the file is not there either.
    const int err = errno == ENOTDIR ? ENOENT : errno;
    return fail_errno(err, path + ": cannot be opened");
  }
  struct stat info {};
  if (auto good = check_file(file.get(), path, info); !good) {
    return tl::unexpected(good.error());
  }
  auto text = read_whole(file.get(), path);
  if (!text) return tl::unexpected(text.error());
  return ConfigText{std::move(*text), (info.st_mode & S_IROTH) != 0};
}

Loaded load_config_files(const ConfigPaths& paths, const std::optional<std::string>& given) {
  Loaded loaded;
  if (given) {
    load_one(loaded, *given, Place::UserFile, true);
    return loaded;
  }
  load_one(loaded, paths.user, Place::UserFile, false);
  load_one(loaded, paths.system, Place::SystemFile, false);
  return loaded;
}

void merge_sources(UpFlags& flags, const std::optional<std::string>& proxy_url_variable,
                   const Loaded& loaded) {
  if (proxy_url_variable) {
    add(flags, *find_option("proxy-url"), {*proxy_url_variable},
        Origin{Place::Environment, kVariable, {}});
  }
  for (std::size_t i = 0; i < loaded.files.size(); ++i) {
    for (const auto& value : loaded.files[i].values) {
      add(flags, *value.row, value.values, Origin{loaded.places[i], value.source, value.labels});
    }
  }
}

Judgement judge_sources(const Sources& sources, JudgeWhat what, UpFlags* merged) {
  UpFlags flags = sources.typed;
  auto loaded = load_config_files(sources.paths, flags.config);
  merge_sources(flags, sources.proxy_url, loaded);
  if (!loaded.mistakes.empty()) {
    // A file that cannot be read may be the one with the proxy in it.
    what.proxy_needed = false;
    what.read_password = false;
  }
  auto judgement = judge(flags, what);
  auto& warnings = judgement.checked.warnings;
  warnings.insert(warnings.begin(), loaded.warnings.begin(), loaded.warnings.end());
  judgement.mistakes.insert(judgement.mistakes.begin(), loaded.mistakes.begin(),
                            loaded.mistakes.end());
  wipe_secrets(flags);
  wipe_secrets(loaded);
  if (merged != nullptr) *merged = std::move(flags);
  return judgement;
}

void wipe_secrets(UpFlags& flags) {
  for (auto* secret : {&flags.proxy_url, &flags.password}) {
    if (*secret) wipe(**secret);
  }
}

void wipe_secrets(Sources& sources) {
  wipe_secrets(sources.typed);
  if (sources.proxy_url) wipe(*sources.proxy_url);
}

void wipe_secrets(Config& config, EffectiveOptions& options, Sources& sources) {
  config.proxy.credentials.reset();
  options.proxy.credentials.reset();
  wipe_secrets(sources);
}

void wipe_secrets(Loaded& loaded) {
  for (auto& file : loaded.files) {
    for (auto& value : file.values) {
      if (!value.row->traits.secret) continue;
      for (auto& text : value.values) wipe(text);
    }
  }
}

}  // namespace proxyvpn::app
