#pragma once
// What a log record becomes: text for a person, JSON for a program, fields for systemd's journal.
#include <cstdint>
#include <string>

#include "base/log_record.h"

namespace proxyvpn::app {

enum class LogFormat : std::uint8_t { Auto, Text, Json, Journal };  // --log-format

// Where stderr leads and what the person who started us has said about colours.
struct LogSurroundings {
  bool terminal = false;
  bool journal = false;   // stderr is the stream that JOURNAL_STREAM names (systemd.exec(5))
  bool no_color = false;  // NO_COLOR is set to anything (no-color.org)
  bool dumb = false;      // TERM=dumb, or none
};
LogSurroundings look_around(int output);

struct LogStyle {
  LogFormat format = LogFormat::Text;  // never Auto
  bool colour = false;
  bool progress = false;  // the output is a terminal on which a line can be taken back
  std::string journal_socket = "/run/systemd/journal/socket";
};
LogStyle decide_style(LogFormat wanted, const LogSurroundings& around);

// One object on one line, without the newline: "time" (RFC 3339, UTC), "level", "pid", "message",
// "fields" (all texts).
std::string json_line(const log::Record& record);
// One datagram of systemd's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): MESSAGE,
// PRIORITY, SYSLOG_IDENTIFIER, SYSLOG_PID, PROXYVPN_EVENT, and each field as PROXYVPN_<KEY>.
std::string journal_datagram(const log::Record& record);

}  // namespace proxyvpn::app
