#include "app/log_render.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

namespace proxyvpn::app {
namespace {

// "device:inode" of the stream that a service manager has connected us to.
bool is_journal_stream(int output) {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  unsigned long long device = 0;
  unsigned long long inode = 0;
  if (stream == nullptr || std::sscanf(stream, "%llu:%llu", &device, &inode) != 2) return false;
  struct stat info {};
  return ::fstat(output, &info) == 0 && info.st_dev == device && info.st_ino == inode;
}

// syslog(3)'s numbers.
char priority_of(log::Level level) {
  switch (level) {
    case log::Level::Error:
      return '3';
    case log::Level::Warning:
      return '4';
    case log::Level::Info:
      return '6';
    case log::Level::Debug:
      return '7';
  }
  return '6';
}

std::string time_text(std::int64_t microseconds) {
  const std::time_t seconds = microseconds / 1'000'000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const auto length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%06dZ",
                static_cast<int>(microseconds % 1'000'000));
  return std::string(text.data(), length) + fraction.data();
}

// Only capital letters, digits and '_' (systemd.journal-fields(7)).
std::string field_name(std::string_view key) {
  std::string name = "PROXYVPN_";
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    name += byte < 0x80 && std::isalnum(byte) != 0 ? static_cast<char>(std::toupper(byte)) : '_';
  }
  return name;
}

}  // namespace

LogSurroundings look_around(int output) {
  LogSurroundings around;
  around.terminal = ::isatty(output) == 1;
  around.journal = is_journal_stream(output);
  const char* const no_color = std::getenv("NO_COLOR");
  around.no_color = no_color != nullptr && no_color[0] != '\0';
  const char* const term = std::getenv("TERM");
  around.dumb = term == nullptr || std::strcmp(term, "dumb") == 0;
  return around;
}

LogStyle decide_style(LogFormat wanted, const LogSurroundings& around) {
  LogStyle style;
  style.format = wanted;
  if (wanted == LogFormat::Auto) {
    style.format = around.journal ? LogFormat::Journal : LogFormat::Text;
  }
  style.progress = around.terminal && !around.dumb && style.format == LogFormat::Text;
  style.colour = around.terminal && !around.no_color && !around.dumb;
  return style;
}

std::string json_line(const log::Record& record) {
  nlohmann::ordered_json fields = nlohmann::ordered_json::object();
  for (const auto& [key, value] : record.fields) fields[key] = value;
  const nlohmann::ordered_json line = {{"time", time_text(record.time)},
                                       {"level", std::string(log::name_of(record.level))},
                                       {"pid", record.pid},
                                       {"message", record.event},
                                       {"fields", std::move(fields)}};
  // Bytes that are no UTF-8 become U+FFFD instead of an exception.
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string journal_datagram(const log::Record& record) {
  // What a person reads; the level has a field of its own.
  log::Record plain = record;
  plain.level = log::Level::Info;
  constexpr std::string_view prefix = "proxyvpn: ";
  std::string text = "MESSAGE=" + log::text_line(plain, false).substr(prefix.size());
  text += std::string("\nPRIORITY=") + priority_of(record.level);
  text += "\nSYSLOG_IDENTIFIER=proxyvpn\nSYSLOG_PID=" + std::to_string(record.pid);
  text += "\nPROXYVPN_EVENT=" + record.event;
  for (const auto& [key, value] : record.fields) text += "\n" + field_name(key) + "=" + value;
  return text + "\n";
}

}  // namespace proxyvpn::app
