#include "app/state_file.h"

#include <charconv>

namespace proxyvpn::app {
namespace {

constexpr std::string_view kHeader = "proxyvpn-state 1";
constexpr std::size_t kLongestValue = 512;
constexpr std::size_t kLongestLinkName = 15;  // IFNAMSIZ - 1

bool is_plain(std::string_view value) {
  for (const char c : value) {
    if (c < 0x20 || c == 0x7f) return false;
  }
  return value.size() <= kLongestValue;
}

std::string safe(std::string_view value) {
  std::string result(value.substr(0, kLongestValue));
  for (char& c : result) {
    if (c < 0x20 || c == 0x7f) c = '?';
  }
  return result;
}

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const char* const end = text.data() + text.size();
  const auto [last, problem] = std::from_chars(text.data(), end, number);
  return problem == std::errc() && last == end && number >= 0;
}

// False: the value is not one that we write.
bool take_line(StateFile& state, std::string_view key, std::string_view value) {
  if (!is_plain(value)) return false;
  if (key == "pid") return read_number(value, state.pid);
  if (key == "started") return read_number(value, state.started);
  if (key == "made-directory") {
    state.made_directory = value == "yes";
    return value == "yes" || value == "no";
  }
  if (key == "step") state.step = value;
  if (key == "proxy") state.proxy = value;
  if (key == "tun") {
    if (value.size() > kLongestLinkName || value.find('/') != std::string_view::npos) return false;
    state.tun_name = value;
  }
  return true;
}

}  // namespace

std::string to_text(const StateFile& state) {
  return std::string(kHeader) + "\npid=" + std::to_string(state.pid) +
         "\nstarted=" + std::to_string(state.started) + "\nstep=" + safe(state.step) +
         "\ntun=" + safe(state.tun_name) + "\nproxy=" + safe(state.proxy) +
         "\nmade-directory=" + (state.made_directory ? "yes" : "no") + "\n";
}

Result<StateFile> parse_state(std::string_view text) {
  const auto corrupt = [](const char* why) {
    return fail(Code::InvalidArgument, std::string("the state file is corrupt: ") + why);
  };
  if (text.size() > kMaxStateFile) return corrupt("too long");
  StateFile state;
  bool header = true;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return corrupt("it breaks off");
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (header) {
      if (line != kHeader) return corrupt("it does not begin with the format's name");
      header = false;
      continue;
    }
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) return corrupt("a line without '='");
    if (!take_line(state, line.substr(0, equals), line.substr(equals + 1)))
      return corrupt("a bad value");
  }
  if (header) return corrupt("it is empty");
  return state;
}

}  // namespace proxyvpn::app
