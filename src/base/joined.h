#pragma once
#include <string>
#include <vector>

namespace proxyvpn {

inline std::string joined(const std::vector<std::string>& words, const char* between = ", ") {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

}  // namespace proxyvpn
