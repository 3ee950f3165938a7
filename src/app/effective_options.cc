#include "app/effective_options.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "app/option_table.h"

namespace proxyvpn::app {
namespace {

constexpr std::size_t kMostTexts = 4096;  // of one list; a file has at most 64 KiB

class OptionWriter {
 public:
  void number(std::uint32_t value) {
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&value);
    bytes_.insert(bytes_.end(), raw, raw + sizeof value);
  }
  void text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  void texts(const std::vector<std::string>& values) {
    number(static_cast<std::uint32_t>(values.size()));
    for (const auto& value : values) text(value);
  }
  std::vector<std::uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<std::uint8_t> bytes_;
};

// After the first thing that is missing everything reads as nothing and done() is false.
class OptionReader {
 public:
  explicit OptionReader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  std::uint32_t number() {
    std::uint32_t value = 0;
    if (!has(sizeof value)) return 0;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_ = rest_.subspan(sizeof value);
    return value;
  }
  std::string text() {
    const auto size = number();
    if (!has(size)) return {};
    std::string value(rest_.begin(), rest_.begin() + size);
    rest_ = rest_.subspan(size);
    return value;
  }
  std::vector<std::string> texts() {
    const auto count = number();
    std::vector<std::string> values;
    if (count > kMostTexts) good_ = false;
    for (std::uint32_t i = 0; i < count && good_; ++i) values.push_back(text());
    return values;
  }
  [[nodiscard]] bool done() const { return good_ && rest_.empty(); }

 private:
  bool has(std::size_t size) {
    good_ = good_ && rest_.size() >= size;
    return good_;
  }
  std::span<const std::uint8_t> rest_;
  bool good_ = true;
};

bool is(const OptionRow& row, std::string_view name) { return row.name == name; }

// Which proxy, and how it is told who we are: compared as a whole, as several options make it.
bool is_of_proxy(const OptionRow& row) {
  for (const char* name :
       {"proxy-url", "proxy-host", "proxy-port", "username", "password", "password-file"}) {
    if (is(row, name)) return true;
  }
  return false;
}

// Only of the command line, or about the start alone.
bool is_of_start(const OptionRow& row) {
  return is(row, "config") || is(row, "detach") || is(row, "dry-run");
}

void copy_reloadable(Config& config, const Config& fresh) {
  config.dns = fresh.dns;
  config.exclude = fresh.exclude;
  config.allow_lan = fresh.allow_lan;
  config.exempt_users = fresh.exempt_users;
  config.connect_timeout = fresh.connect_timeout;
  config.preconnect = fresh.preconnect;
  config.verbose = fresh.verbose;
  config.log_level = fresh.log_level;
}

}  // namespace

EffectiveOptions effective_options(const UpFlags& merged, const Judgement& judgement) {
  EffectiveOptions options;
  options.warnings = judgement.checked.warnings;
  for (const auto& mistake : judgement.mistakes) options.mistakes.push_back(mistake.message);
  const Config& config = judgement.checked.config;
  options.proxy = config.proxy;
  options.password_was_typed = merged.password_file == "-" && !merged.password;
  for (const auto& row : option_rows()) {
    auto& values = options.values.emplace_back();
    if (is(row, "exempt-user")) {
      for (const auto user : config.exempt_users) values.push_back(std::to_string(user));
    } else if (!row.traits.secret) {
      values = values_of(merged, row);
    }
  }
  return options;
}

std::vector<std::uint8_t> encode(const EffectiveOptions& options) {
  OptionWriter writer;
  writer.texts(options.mistakes);
  writer.texts(options.warnings);
  writer.number(static_cast<std::uint32_t>(options.values.size()));
  for (const auto& values : options.values) writer.texts(values);
  writer.text(options.proxy.host);
  writer.number(options.proxy.port);
  writer.number(options.password_was_typed ? 1 : 0);
  writer.number(options.proxy.credentials ? 1 : 0);
  if (options.proxy.credentials) {
    writer.text(options.proxy.credentials->username);
    writer.text(options.proxy.credentials->password.reveal());
  }
  return writer.take();
}

std::optional<EffectiveOptions> decode_options(std::span<const std::uint8_t> bytes) {
  OptionReader reader(bytes);
  EffectiveOptions options;
  options.mistakes = reader.texts();
  options.warnings = reader.texts();
  if (reader.number() != option_rows().size()) return std::nullopt;
  for (std::size_t i = 0; i < option_rows().size(); ++i) options.values.push_back(reader.texts());
  options.proxy.host = reader.text();
  const auto port = reader.number();
  options.proxy.port = static_cast<std::uint16_t>(port);
  options.password_was_typed = reader.number() == 1;
  if (reader.number() == 1) {
    auto& credentials = options.proxy.credentials.emplace();
    credentials.username = reader.text();
    std::string password = reader.text();
    credentials.password = Secret(password);
    wipe(password);
  }
  if (!reader.done() || port > 65535) return std::nullopt;
  return options;
}

Result<ReloadPlan> plan_reload(const Config& config, const EffectiveOptions& now,
                               EffectiveOptions fresh) {
  ReloadPlan plan;
  UpFlags flags;
  const auto rows = option_rows();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!is_of_proxy(rows[i]) && !is_of_start(rows[i])) set_values(flags, rows[i], fresh.values[i]);
  }
  auto judgement = judge(flags, {.proxy_needed = false, .read_password = false});
  if (!judgement.mistakes.empty()) return tl::unexpected(judgement.mistakes.front());
  plan.config = config;
  copy_reloadable(plan.config, judgement.checked.config);
  plan.options = now;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (is_of_proxy(rows[i]) || is_of_start(rows[i]) || fresh.values[i] == now.values[i]) continue;
    auto& names = rows[i].traits.reloads ? plan.applied : plan.restart;
    names.emplace_back(rows[i].name);
    if (rows[i].traits.reloads) plan.options.values[i] = fresh.values[i];
  }
  if (fresh.proxy.host != config.proxy.host || fresh.proxy.port != config.proxy.port) {
    // Its password belongs to that proxy, not to the one that stays.
    plan.restart.emplace_back("proxy");
    return plan;
  }
  if (fresh.password_was_typed && fresh.proxy.credentials && config.proxy.credentials) {
    fresh.proxy.credentials->password = config.proxy.credentials->password;
  }
  plan.credentials = fresh.proxy.credentials != config.proxy.credentials;
  if (plan.credentials) {
    plan.applied.emplace_back("credentials");
    plan.config.proxy.credentials = fresh.proxy.credentials;
  }
  return plan;
}

}  // namespace proxyvpn::app
