#pragma once
// Reads the configuration again in a child, while the event loop runs: names of users are looked up
// there (NSS may ask the network), and a disk or a password file that does not answer holds up
// nobody.
#include <sys/types.h>

#include <functional>
#include <optional>
#include <vector>

#include "app/config_sources.h"
#include "app/effective_options.h"
#include "base/unique_fd.h"
#include "event/reactor.h"

namespace proxyvpn::app {

class ConfigReader {
 public:
  static constexpr seconds kPatience{5};
  using Done = std::function<void(Result<EffectiveOptions>)>;

  explicit ConfigReader(event::Reactor& reactor);
  ~ConfigReader();
  ConfigReader(const ConfigReader&) = delete;
  ConfigReader& operator=(const ConfigReader&) = delete;

  // Code::Busy while one is under way. `done` is called once, from the loop, unless this fails or
  // the object goes before. `sources` is not kept.
  Result<> start(const Sources& sources, Done done);
  // To be called now and then: takes note of the end of what start() began.
  void reap() noexcept;

 private:
  void look();
  void finish(Result<EffectiveOptions> result);

  event::Reactor& reactor_;
  UniqueFd pipe_;
  pid_t child_ = 0;  // also after the answer, until its end is known
  std::vector<std::uint8_t> bytes_;
  Done done_;
  event::FunctionHandler handler_;
  event::Timer deadline_;
};

}  // namespace proxyvpn::app
