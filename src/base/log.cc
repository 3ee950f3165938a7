#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace proxyvpn::log {
namespace {

constexpr std::size_t kLongestLine = 1000;  // well below PIPE_BUF (4096)

int output = 2;
Level threshold = Level::Info;
std::uint64_t lost = 0;

bool plain(char c) { return c > ' ' && c != '"' && c != '\\' && c != '=' && c != 0x7f; }

void append_escaped(std::string& line, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      line += "\\x";
      line += kHex[byte >> 4];
      line += kHex[byte & 15];
    } else {
      if (c == '"' || c == '\\') line += '\\';
      line += c;
    }
  }
}

void append_value(std::string& line, std::string_view value) {
  bool bare = !value.empty();
  for (const char c : value) bare = bare && plain(c);
  if (bare) {
    line += value;
    return;
  }
  line += '"';
  append_escaped(line, value);
  line += '"';
}

void emit(std::string line) noexcept {
  if (line.size() > kLongestLine) {
    line.resize(kLongestLine - 3);
    line += "...";
  }
  line += '\n';
  ssize_t n = 0;
  do {
    n = ::write(output, line.data(), line.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) ++lost;
}

}  // namespace

void set_output(int fd) noexcept { output = fd; }
void set_level(Level level) noexcept { threshold = level; }
bool enabled(Level level) noexcept { return level <= threshold; }

std::string format(Level level, std::string_view event, std::initializer_list<Field> fields) {
  std::string line = "proxyvpn: ";
  if (level == Level::Error) line += "error: ";
  if (level == Level::Warning) line += "warning: ";
  append_escaped(line, event);
  for (const auto& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  return line;
}

void write(Level level, std::string_view event, std::initializer_list<Field> fields) noexcept {
  if (!enabled(level)) return;
  if (lost > 0) {
    const auto count = std::exchange(lost, 0);
    emit(format(Level::Warning, "log lines lost, the reader was too slow", {{"lines", count}}));
  }
  emit(format(level, event, fields));
}

}  // namespace proxyvpn::log
