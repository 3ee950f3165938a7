#pragma once
// One line per event: a fixed event text and facts as fields. Never blocks, never holds a secret.
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace proxyvpn::log {

enum class Level { Error, Warning, Info, Debug };

struct Field {
  std::string_view key;
  std::string value;
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, std::string&& v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, const std::string& v) : key(k), value(v) {}
  template <class T>
  requires std::is_integral_v<T> Field(std::string_view k, T v)
      : key(k), value(std::to_string(v)) {}
};

// Where lines go. Lines are cut at 1,000 bytes so that one write(2) to a pipe is atomic
// (PIPE_BUF, pipe(7)); control characters in values are escaped. A full pipe loses the line and
// counts it: the next line that fits says how many were lost.
void set_output(int fd) noexcept;      // not owned; default 2
void set_level(Level level) noexcept;  // default Info
[[nodiscard]] bool enabled(Level level) noexcept;

void write(Level level, std::string_view event, std::span<const Field> fields) noexcept;
inline void write(Level level, std::string_view event,
                  std::initializer_list<Field> fields = {}) noexcept {
  write(level, event, std::span(fields.begin(), fields.size()));
}
inline void error(std::string_view e, std::initializer_list<Field> f = {}) noexcept {
  write(Level::Error, e, f);
}
inline void warning(std::string_view e, std::initializer_list<Field> f = {}) noexcept {
  write(Level::Warning, e, f);
}
inline void info(std::string_view e, std::initializer_list<Field> f = {}) noexcept {
  write(Level::Info, e, f);
}
inline void debug(std::string_view e, std::initializer_list<Field> f = {}) noexcept {
  write(Level::Debug, e, f);
}

// The line as it would be written, without the newline: "proxyvpn: <event> key=value key="two
// words"".
std::string format(Level level, std::string_view event, std::initializer_list<Field> fields);

}  // namespace proxyvpn::log
