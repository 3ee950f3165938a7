#pragma once
// What is in force, option by option, so that a later reading can be compared with it and what has
// changed can be called by its name.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/options.h"

namespace proxyvpn::app {

struct EffectiveOptions {
  // For each row of option_rows(), as it would be typed; of secrets nothing, of users their
  // numbers.
  std::vector<std::vector<std::string>> values;
  // The proxy, of whatever options it was made.
  connect::ProxyUrl proxy;
  // The password came from standard input, which is read once: the one that is known stays.
  bool password_was_typed = false;
  std::vector<std::string> warnings;
  std::vector<std::string> mistakes;  // then nothing else counts
};
EffectiveOptions effective_options(const UpFlags& merged, const Judgement& judgement);

// Between the process that has read the files and the supervisor; both are one binary. Holds a
// password: wipe it.
std::vector<std::uint8_t> encode(const EffectiveOptions& options);
// Nothing for bytes that are not exactly one.
std::optional<EffectiveOptions> decode_options(std::span<const std::uint8_t> bytes);

struct ReloadPlan {
  Config config;                     // what is in force, with what can change changed
  EffectiveOptions options;          // the same as texts
  std::vector<std::string> applied;  // names of options that change; "credentials"
  std::vector<std::string> restart;  // names of options that cannot change without a new start
  bool credentials = false;          // they change
};
// Pure. Error: values that were good for whoever read them are not good here.
Result<ReloadPlan> plan_reload(const Config& config, const EffectiveOptions& now,
                               EffectiveOptions fresh);

}  // namespace proxyvpn::app
