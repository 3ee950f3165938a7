// The configuration file: whatever its bytes, every value is one that could be typed, every mistake
// is one line with its place, and judging what was read ends with values or with sentences.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "app/config_sources.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxyvpn::app;
  if (size > kLargestConfigFile) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Loaded loaded;
  loaded.files.push_back(parse_config_file(text, "/c"));
  loaded.places.push_back(Place::UserFile);
  for (const auto& mistake : loaded.files[0].mistakes) {
    if (!mistake.starts_with("/c:")) std::abort();
    for (const char c : mistake) {
      if (static_cast<unsigned char>(c) < 0x20) std::abort();
    }
  }
  for (const auto& value : loaded.files[0].values) {
    if (value.values.size() != value.labels.size()) std::abort();
    // The user database is not asked: it is not what is tried here.
    if (std::string_view(value.row->name) == "exempt-user") return 0;
  }
  UpFlags flags;
  merge_sources(flags, std::nullopt, loaded);
  static_cast<void>(judge(flags, {.proxy_needed = true, .read_password = false}));
  return 0;
}
