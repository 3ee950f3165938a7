#include "base/log.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <ctime>

#include "base/log_record.h"

namespace proxyvpn::log {
namespace {

int output = 2;
bool as_records = false;
Level threshold = Level::Info;
std::uint64_t lost = 0;

std::int64_t microseconds(clockid_t clock) noexcept {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

// What came of one event lately.
struct Burst {
  std::string event;
  Level level = Level::Info;
  std::int64_t began = 0;  // CLOCK_MONOTONIC
  unsigned lines = 0;
  std::uint64_t suppressed = 0;
};
// More events at once than this are not told apart well, and nothing grows.
std::array<Burst, 32> bursts;

Record make_record(Level level, std::string_view event, std::span<const Field> fields) {
  Record record;
  record.level = level;
  record.time = microseconds(CLOCK_REALTIME);
  record.pid = ::getpid();
  record.event = event;
  for (const auto& field : fields) record.fields.emplace_back(field.key, field.value);
  return record;
}

Record make_record(Level level, std::string_view event, std::initializer_list<Field> fields) {
  return make_record(level, event, std::span(fields.begin(), fields.size()));
}

void emit(const Record& record) {
  std::string line = encode(record);
  if (!as_records) {
    // The same cuts and escapes as everywhere.
    const auto clean = decode(line);
    line = clean ? text_line(*clean, false) : std::string(record.event);
  }
  line += '\n';
  ssize_t n = 0;
  do {
    n = ::write(output, line.data(), line.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) ++lost;
}

void tell_suppressed(Burst& burst) {
  const auto count = std::exchange(burst.suppressed, 0);
  if (count == 0) return;
  emit(make_record(burst.level, std::to_string(count) + " more suppressed",
                   {{"event", burst.event}}));
}

// The event's own entry, or the one that has been quiet for longest.
Burst& burst_of(Level level, std::string_view event, std::int64_t now) {
  auto* oldest = &bursts.front();
  for (auto& burst : bursts) {
    if (burst.event == event) return burst;
    if (burst.began < oldest->began) oldest = &burst;
  }
  tell_suppressed(*oldest);
  *oldest = Burst{std::string(event), level, now, 0, 0};
  return *oldest;
}

bool may_pass(Level level, std::string_view event) {
  if (level == Level::Debug) return true;
  const auto now = microseconds(CLOCK_MONOTONIC);
  auto& burst = burst_of(level, event, now);
  if (now - burst.began >= kBurstTime) {
    tell_suppressed(burst);
    burst.began = now;
    burst.lines = 0;
  }
  if (++burst.lines <= kBurst) return true;
  ++burst.suppressed;
  return false;
}

}  // namespace

Record record_now(Level level, std::string_view event) {
  return make_record(level, cleaned(event), {});
}

void set_output(int fd) noexcept {
  output = fd;
  as_records = false;
}
void set_record_output(int fd) noexcept {
  output = fd;
  as_records = true;
}
void set_level(Level level) noexcept { threshold = level; }
bool enabled(Level level) noexcept { return level <= threshold; }

std::string format(Level level, std::string_view event, std::initializer_list<Field> fields) {
  const auto clean = decode(encode(make_record(level, event, fields)));
  return clean ? text_line(*clean, false) : std::string();
}

void progress(std::string_view text) noexcept {
  if (!as_records) return;
  Record record = make_record(Level::Info, text, {});
  record.progress = true;
  emit(record);
}

void flush_suppressed() noexcept {
  const auto now = microseconds(CLOCK_MONOTONIC);
  for (auto& burst : bursts) {
    if (burst.suppressed > 0 && now - burst.began >= kBurstTime) tell_suppressed(burst);
  }
}

void write(Level level, std::string_view event, std::span<const Field> fields) noexcept {
  if (!enabled(level) || !may_pass(level, event)) return;
  if (lost > 0) {
    const auto count = std::exchange(lost, 0);
    emit(
        make_record(Level::Warning, "log lines lost, the reader was too slow", {{"lines", count}}));
  }
  emit(make_record(level, event, fields));
}

}  // namespace proxyvpn::log
