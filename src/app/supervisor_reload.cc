// `proxyvpn reload` and SIGHUP: the configuration is read again by a child, judged here once more,
// and applied whole or not at all.
#include <utility>

#include "app/supervisor.h"
#include "base/joined.h"
#include "base/log.h"

namespace proxyvpn::app {

std::string Supervisor::begin_reload() {
  if (phase_ == Phase::Stopping || phase_ == Phase::Done) {
    return error_reply("proxyvpn is going down");
  }
  if (!committed_) return error_reply("proxyvpn is still starting: try again when it is up");
  const auto begun = reader_.start(session_.sources, [this](Result<EffectiveOptions> fresh) {
    const auto reply =
        fresh ? reload(std::move(*fresh)) : Result<Fields>(tl::unexpected(fresh.error()));
    if (!reply) {
      log::error("the configuration is not reloaded, and what was in force stays in force",
                 {{"reason", reply.error().message}});
    }
    if (control_) {
      control_->finish(Verb::Reload, reply ? ok_reply(*reply) : error_reply(reply.error().message));
    }
  });
  if (!begun) return error_reply(begun.error().message);
  return {};
}

Result<Fields> Supervisor::reload(EffectiveOptions fresh) {
  if (phase_ == Phase::Stopping || phase_ == Phase::Done) {
    return fail(Code::Busy, "proxyvpn is going down");
  }
  if (!fresh.mistakes.empty()) {
    return fail(Code::InvalidArgument, joined(fresh.mistakes, " | "));
  }
  Fields reply;
  for (const auto& warning : fresh.warnings) {
    log::warning(warning);
    reply.emplace_back("warning", warning);
  }
  auto planned = plan_reload(session_.config, session_.options, std::move(fresh));
  if (!planned) return tl::unexpected(planned.error());
  // The firewall first and in one transaction: it is what can fail.
  if (auto applied = apply_config(planned->config); !applied)
    return tl::unexpected(applied.error());
  session_.config = std::move(planned->config);
  session_.options = std::move(planned->options);
  log::set_level(session_.config.log_level);
  health_.set_has_credentials(session_.config.proxy.credentials.has_value());
  pool_.set_options(session_.config, planned->credentials);
  if (!planned->applied.empty()) {
    log::info("the configuration is reloaded", {{"applied", joined(planned->applied)}});
    reply.emplace_back("applied", joined(planned->applied));
  }
  if (!planned->restart.empty()) {
    log::warning("what was changed here needs a new start and is not in force",
                 {{"options", joined(planned->restart)}});
    reply.emplace_back("needs-restart", joined(planned->restart));
  }
  return reply;
}

Result<> Supervisor::apply_config(const Config& config) {
  if (!session_.replan) return {};
  auto plan = session_.replan(config, session_.proxies);
  if (!plan) return tl::unexpected(plan.error());
  plan->policy.direct_cgroup = lifecycle_.plan().policy.direct_cgroup;
  return lifecycle_.apply_policy(std::move(plan->policy));
}

}  // namespace proxyvpn::app
