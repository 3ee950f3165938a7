#include "app/early_log.h"

#include <unistd.h>

namespace proxyvpn::app {
namespace {

// Bytes; as JSON it may be three times as long, and stays below PIPE_BUF.
constexpr std::size_t kLongestSentence = 1200;

}  // namespace

EarlyLog::EarlyLog(LogFormat wanted) {
  const auto around = look_around(STDERR_FILENO);
  style_ = decide_style(wanted, around);
  into_journal_ = around.journal;
  if (style_.format == LogFormat::Journal) journal_ = JournalSocket(style_.journal_socket);
}

std::string EarlyLog::line(log::Level level, std::string_view sentence) const {
  log::Record record = log::record_now(level, sentence);
  if (record.event.size() > kLongestSentence) {
    record.event.resize(kLongestSentence);
    record.event += "...";
  }
  if (style_.format == LogFormat::Json) return json_line(record);
  const bool taken = style_.format == LogFormat::Journal && journal_.send(journal_datagram(record));
  return taken && into_journal_ ? std::string() : log::text_line(record, style_.colour);
}

}  // namespace proxyvpn::app
