#pragma once
// What a daemon leaves as a note for `down` and `status`: hints, never authority. No secret.
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace proxyvpn::app {

inline constexpr std::size_t kMaxStateFile = 4096;

struct StateFile {
  pid_t pid = 0;
  std::int64_t started = 0;  // seconds since the epoch
  std::string step;          // the bring-up step that is about to be taken, or "up"
  std::string tun_name;
  std::string proxy;            // without credentials
  bool made_directory = false;  // the state directory is ours to remove
  friend bool operator==(const StateFile&, const StateFile&) = default;
};

// Lines "key=value" behind a line with the format's name and version.
std::string to_text(const StateFile& state);
// Anything that to_text() would not write is Code::InvalidArgument; unknown keys are ignored so
// that an older `down` can read a newer daemon's note.
Result<StateFile> parse_state(std::string_view text);

}  // namespace proxyvpn::app
