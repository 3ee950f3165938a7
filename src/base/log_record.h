#pragma once
// A log line on its way to the process that writes it, as data: what it becomes (text, JSON, fields
// of the journal) is decided there. One record is one line of at most kLongestRecord bytes, so that
// one write(2) to a pipe is atomic (pipe(7)).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"

namespace proxyvpn::log {

inline constexpr std::size_t kLongestRecord = 1000;  // bytes without the newline; below PIPE_BUF

struct Record {
  Level level = Level::Info;
  std::int64_t time = 0;  // microseconds since the epoch
  std::int64_t pid = 0;   // of the process that says it
  std::string event;
  std::vector<std::pair<std::string, std::string>> fields;
  // Not for the log: what a person at a terminal waits for, on a line that goes again (empty: now).
  bool progress = false;
  friend bool operator==(const Record&, const Record&) = default;
};

std::string_view name_of(Level level) noexcept;  // "error"

// Control characters become \xNN.
std::string cleaned(std::string_view text);

// Without the newline. Control characters become \xNN; what is too long is cut in the last field.
std::string encode(const Record& record);
// Nothing for a line that is no record: somebody else wrote into the pipe.
std::optional<Record> decode(std::string_view line);

// "proxyvpn: warning: <event> key=value key="two words"", in colours of a terminal when asked for.
std::string text_line(const Record& record, bool colour);

// What write() would make of this now; of any length, control characters become \xNN.
Record record_now(Level level, std::string_view event);

// From now on lines go to `fd` as records. Not owned.
void set_record_output(int fd) noexcept;

// What a person at a terminal waits for now; empty: nothing any more. Nobody else sees it.
void progress(std::string_view text) noexcept;

// Of one event (its text) at most kBurst lines go out within kBurstTime, but for those of
// Level::Debug, which were asked for; a line then says how many were left out. To be called now and
// then, so that it is said also when nothing more happens.
inline constexpr unsigned kBurst = 20;
inline constexpr std::int64_t kBurstTime = 10'000'000;  // microseconds
void flush_suppressed() noexcept;

}  // namespace proxyvpn::log
