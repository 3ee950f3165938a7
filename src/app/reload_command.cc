#include "app/reload_command.h"

#include <cstdio>

#include "app/complain.h"
#include "app/control_client.h"
#include "app/options.h"

namespace proxyvpn::app {
namespace {

constexpr seconds kReloadTime{10};  // the daemon gives itself five to read

// Mistakes come on one line.
std::string lines_of(const std::string& problem) {
  std::string text;
  for (std::size_t begin = 0;;) {
    const auto end = problem.find(" | ", begin);
    text += (begin == 0 ? "" : "\nproxyvpn: error: ") + problem.substr(begin, end - begin);
    if (end == std::string::npos) return text;
    begin = end + 3;
  }
}

int tell(const Fields& fields) {
  bool changed = false;
  for (const auto& [key, value] : fields) {
    if (key == "warning") std::fprintf(stderr, "proxyvpn: warning: %s\n", value.c_str());
    if (key == "applied") std::printf("reloaded: %s\n", value.c_str());
    if (key == "needs-restart") {
      std::printf("changed, but in force only after a new start: %s\n", value.c_str());
    }
    changed = changed || key == "applied" || key == "needs-restart";
  }
  if (!changed) std::printf("nothing has changed\n");
  return 0;
}

class ReloadCommand : public Subcommand {
 public:
  void define(CLI::App& app) override { define_down(app, flags_); }
  Result<Action> action(std::optional<std::string> /*proxy_url*/) override {
    auto checked = to_config(flags_);
    if (!checked) return tl::unexpected(checked.error());
    return Action([config = std::move(checked->config)] {
      const auto answered = ask_any(config, Request{Verb::Reload, 0}, kReloadTime);
      if (!answered) return complain(answered.error().message);
      if (!answered->reply.ok) {
        complain(lines_of(answered->reply.problem));
        std::fputs("proxyvpn: nothing was changed\n", stderr);
        return 1;
      }
      return tell(answered->reply.fields);
    });
  }

 private:
  DownFlags flags_;
};

}  // namespace

std::unique_ptr<Subcommand> make_reload() { return std::make_unique<ReloadCommand>(); }

}  // namespace proxyvpn::app
