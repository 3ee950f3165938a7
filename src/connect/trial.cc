#include "connect/trial.h"

#include <cerrno>
#include <utility>

#include "connect/refusal.h"
#include "connect/tunnel_table.h"

namespace proxyvpn::connect {

Endpoint Trial::key_target() noexcept { return {IpAddress{}, 443}; }

Trial::Trial(TunnelTable& table, event::Reactor& reactor, std::function<void(TrialResult)> done)
    : table_(table),
      reactor_(reactor),
      done_(std::move(done)),
      key_{{}, key_target()},
      decide_([this] { decide(); }),
      patience_([this] { out_of_patience(); }) {}

Trial::~Trial() { give_up(); }

void Trial::start(Duration patience) noexcept {
  patience_.arm(reactor_.timers(), reactor_.now() + patience);
  begin();
}

void Trial::begin() noexcept {
  ++attempts_;
  table_.begin(*this);
}

void Trial::accept() noexcept {
  trouble_ = false;
  decide_.arm(reactor_.timers(), reactor_.now());
}

void Trial::refuse(stack::Refusal how) noexcept {
  handler_ = nullptr;
  trouble_ = how == refusal_for_trouble(Trouble::NotHttp);
  decide_.arm(reactor_.timers(), reactor_.now());
}

void Trial::decide() noexcept {
  if (table_.health().lost()) return end(TrialResult::Failed);
  if (trouble_ && attempts_ < kAttempts) return begin();
  end(trouble_ ? TrialResult::Failed : TrialResult::Answered);
}

void Trial::out_of_patience() noexcept {
  const bool connected = table_.is_asking(key_);
  give_up();
  if (!connected) table_.report_trouble(Trouble::Unreachable, 0, ETIMEDOUT);
  end(connected ? TrialResult::Unanswered : TrialResult::Failed);
}

void Trial::give_up() noexcept {
  if (handler_ != nullptr) std::exchange(handler_, nullptr)->on_reset();
}

void Trial::end(TrialResult result) noexcept {
  patience_.cancel();
  decide_.cancel();
  give_up();
  const auto done = std::exchange(done_, nullptr);
  if (done) done(result);
}

}  // namespace proxyvpn::connect
