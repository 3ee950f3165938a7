// proxyvpn: every TCP connection of a Linux machine through an HTTP proxy.
#include <unistd.h>

#include <cstdio>
#include <new>
#include <string>
#include <utility>

#include "app/cli.h"
#include "app/down.h"
#include "app/early_log.h"
#include "app/session.h"

extern char** environ;

namespace proxyvpn::app {
namespace {

void tell_mistakes(const Parsed& parsed) {
  const EarlyLog form(parsed.log_format);
  for (const auto& mistake : parsed.mistakes) {
    const std::string line = form.line(log::Level::Error, mistake);
    if (!line.empty()) std::fprintf(stderr, "%s\n", line.c_str());
  }
  if (form.is_text()) std::fputs(parsed.hint.c_str(), stderr);
}

int run(CommandLine command_line) {
  if (command_line.command != Command::Up) {
    for (const auto& warning : command_line.warnings) {
      std::fprintf(stderr, "proxyvpn: warning: %s\n", warning.c_str());
    }
  }
  switch (command_line.command) {
    case Command::Up:
      return run_up({std::move(command_line.config), std::move(command_line.sources),
                     std::move(command_line.options)},
                    command_line.warnings);
    case Command::Down:
      return run_down(command_line.config);
    case Command::Counters:
      return run_counters(command_line.config);
    case Command::Lock:
      return run_lock(command_line.config);
    case Command::Unlock:
      return run_unlock(command_line.config);
    case Command::Other:
      return command_line.action();
  }
  return kExitFailure;
}

}  // namespace
}  // namespace proxyvpn::app

int main(int argc, char** argv) {
  try {
    auto parsed = proxyvpn::app::parse_command_line(argc, argv, environ);
    std::fputs(parsed.output.c_str(), stdout);
    proxyvpn::app::tell_mistakes(parsed);
    if (!parsed.command_line) return parsed.exit_code;
    return proxyvpn::app::run(std::move(*parsed.command_line));
  } catch (const std::bad_alloc&) {
    std::fputs("proxyvpn: error: out of memory\n", stderr);
    return 1;
  }
}
