#pragma once
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <string>

namespace proxyvpn::app {

// "0644"
inline std::string mode_text(mode_t mode) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "%04o", static_cast<unsigned>(mode & 07777));
  return text.data();
}

}  // namespace proxyvpn::app
