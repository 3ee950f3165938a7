#include "base/log_record.h"

#include <charconv>

#include "base/hex.h"

namespace proxyvpn::log {
namespace {

// ASCII's own: "record separator" begins one, "unit separator" stands between its parts.
constexpr char kBegin = '\x1e';
constexpr char kBetween = '\x1f';
constexpr char kProgress = 'p';  // in place of a level

constexpr const char* kReset = "\x1b[0m";
constexpr const char* kRed = "\x1b[1;31m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kDim = "\x1b[2m";

void append_clean(std::string& line, std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      line += "\\x";
      append_hex(line, byte);
    } else {
      line += c;
    }
  }
}

bool plain(char c) { return c > ' ' && c != '"' && c != '\\' && c != '=' && c != 0x7f; }

void append_value(std::string& line, std::string_view value) {
  bool bare = !value.empty();
  for (const char c : value) bare = bare && plain(c);
  if (!bare) line += '"';
  for (std::size_t i = 0; i < value.size(); ++i) {
    // \xNN is ours already.
    const bool escape = value[i] == '\\' && i + 1 < value.size() && value[i + 1] == 'x';
    if (!bare && (value[i] == '"' || (value[i] == '\\' && !escape))) line += '\\';
    line += value[i];
  }
  if (!bare) line += '"';
}

std::string_view take(std::string_view& rest) {
  const auto end = rest.find(kBetween);
  const auto part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}

bool to_number(std::string_view text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string_view name_of(Level level) noexcept {
  switch (level) {
    case Level::Error:
      return "error";
    case Level::Warning:
      return "warning";
    case Level::Info:
      return "info";
    case Level::Debug:
      return "debug";
  }
  return "info";
}

std::string cleaned(std::string_view text) {
  std::string clean;
  append_clean(clean, text);
  return clean;
}

std::string encode(const Record& record) {
  std::string line(1, kBegin);
  line += record.progress ? kProgress : static_cast<char>('0' + static_cast<int>(record.level));
  line += kBetween + std::to_string(record.time) + kBetween + std::to_string(record.pid) + kBetween;
  append_clean(line, record.event);
  for (const auto& [key, value] : record.fields) {
    line += kBetween;
    append_clean(line, key);
    line += kBetween;
    append_clean(line, value);
  }
  if (line.size() > kLongestRecord) {
    line.resize(kLongestRecord - 3);
    line += "...";
  }
  return line;
}

std::optional<Record> decode(std::string_view line) {
  if (line.empty() || line.front() != kBegin) return std::nullopt;
  line.remove_prefix(1);
  const auto level = take(line);
  const bool progress = level.size() == 1 && level[0] == kProgress;
  if (!progress && (level.size() != 1 || level[0] < '0' || level[0] > '3')) return std::nullopt;
  Record record;
  record.progress = progress;
  if (!progress) record.level = static_cast<Level>(level[0] - '0');
  if (!to_number(take(line), record.time) || !to_number(take(line), record.pid)) {
    return std::nullopt;
  }
  record.event = take(line);
  while (!line.empty()) {
    const auto key = take(line);
    const auto value = take(line);
    record.fields.emplace_back(key, value);
  }
  return record;
}

std::string text_line(const Record& record, bool colour) {
  const auto paint = [&](const char* with, std::string_view text) {
    return colour ? with + std::string(text) + kReset : std::string(text);
  };
  std::string line = paint(kDim, "proxyvpn:") + " ";
  if (record.level == Level::Error) line += paint(kRed, "error:") + " ";
  if (record.level == Level::Warning) line += paint(kYellow, "warning:") + " ";
  line += record.event;
  for (const auto& [key, value] : record.fields) {
    line += " " + paint(kDim, key + "=");
    append_value(line, value);
  }
  return line;
}

}  // namespace proxyvpn::log
