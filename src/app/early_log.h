#pragma once
// What is said before the process that writes the log runs, or when it never will: that an option
// is wrong, that the machine is not fit. It has the form of the log.
#include <string>
#include <string_view>

#include "app/journal_socket.h"
#include "app/log_render.h"
#include "base/log.h"

namespace proxyvpn::app {

class EarlyLog {
 public:
  // For stderr as it is now; what it leads to later does not matter.
  explicit EarlyLog(LogFormat wanted = LogFormat::Auto);

  // For stderr, without the newline; cut where one write(2) of it to a pipe would not be whole.
  // Empty: the journal has it, and is what stderr leads to. Where somebody else looks at stderr and
  // --log-format is journal, both get it.
  [[nodiscard]] std::string line(log::Level level, std::string_view sentence) const;
  // Lines that only help a person have a place behind it.
  [[nodiscard]] bool is_text() const noexcept { return style_.format == LogFormat::Text; }

 private:
  LogStyle style_;
  bool into_journal_ = false;  // stderr
  JournalSocket journal_;
};

}  // namespace proxyvpn::app
