// The command line of `proxyvpn doctor`.
#include <CLI/CLI.hpp>
#include <optional>
#include <utility>

#include "app/config_sources.h"
#include "app/doctor.h"
#include "app/option_values.h"
#include "app/options.h"
#include "dns/message.h"

namespace proxyvpn::app {
namespace {

constexpr milliseconds kShortest{200};
constexpr milliseconds kLongest{60'000};

class DoctorCommand final : public Subcommand {
 public:
  void define(CLI::App& app) override {
    define_up(app, flags_);
    app.add_flag("--json", options_.json, "Print JSON (docs/doctor.schema.json)")->group("General");
    app.add_option("--target", options_.target,
                   "Host that the proxy is asked for: it should answer on the ports 443, 80 and 22")
        ->type_name("HOST")
        ->group("General")
        ->capture_default_str();
    app.add_option("--timeout", timeout_, "Longest wait for one answer, in seconds")
        ->type_name("SECONDS")
        ->group("General")
        ->capture_default_str();
  }

  Result<Action> action(std::optional<std::string> proxy_url) override {
    auto timeout = parse_duration("--timeout", timeout_, kShortest, kLongest);
    if (!timeout) return tl::unexpected(timeout.error());
    options_.timeout = *timeout;
    if (auto good = dns::build_query(options_.target, dns::RecordType::A);
        !good && !IpAddress::parse(options_.target)) {
      return wrap(good.error(), "--target");
    }
    if (auto read = read_config(proxy_url); !read) return tl::unexpected(read.error());
    return [this] { return run_doctor(options_); };
  }

 private:
  // The options of `up` from everywhere, but that a proxy may be missing.
  Result<> read_config(const std::optional<std::string>& proxy_url) {
    auto loaded = load_config_files(machine_config_paths(), flags_.config);
    merge_sources(flags_, proxy_url, loaded);
    for (const char* name : {"proxy-host", "proxy-url"}) {
      const auto origin = flags_.origins.find(name);
      if (origin == flags_.origins.end() || origin->second.place == Place::CommandLine) continue;
      options_.proxy_source = origin->second.source;
    }
    if (options_.proxy_source.empty()) options_.proxy_source = "the command line";
    auto judgement = judge(flags_, {.proxy_needed = false});
    wipe_secrets(flags_);
    wipe_secrets(loaded);
    auto mistakes = std::move(loaded.mistakes);
    mistakes.insert(mistakes.end(), judgement.mistakes.begin(), judgement.mistakes.end());
    if (!mistakes.empty()) return tl::unexpected(mistakes.front());
    options_.proxy_given = !judgement.no_proxy;
    options_.config = std::move(judgement.checked.config);
    return {};
  }

  UpFlags flags_;
  std::string timeout_ = "5";
  DoctorOptions options_;
};

}  // namespace

std::unique_ptr<Subcommand> make_doctor() { return std::make_unique<DoctorCommand>(); }

}  // namespace proxyvpn::app
