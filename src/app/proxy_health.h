#pragma once
// Whether the proxy answers, as the person is told: once when it is lost, once when it is back.
// Pure: told the time, answers sentences.
#include <optional>
#include <set>
#include <string>

#include "app/worker_protocol.h"
#include "base/clock.h"

namespace proxyvpn::app {

class ProxyHealth {
 public:
  // `proxy`: what a person knows it by, "192.0.2.10:8080". `killswitch`: whether the machine is
  // shut meanwhile. `has_credentials`: decides what a 407 means.
  ProxyHealth(std::string proxy, bool killswitch, bool has_credentials)
      : proxy_(std::move(proxy)), killswitch_(killswitch), has_credentials_(has_credentials) {}
  void set_has_credentials(bool has_credentials) noexcept { has_credentials_ = has_credentials; }

  void rename(std::string proxy) { proxy_ = std::move(proxy); }
  // A sentence to tell, or nothing when it is known already.
  std::optional<std::string> lost(unsigned worker, const ProxyLost& message, TimePoint now);
  std::optional<std::string> back(unsigned worker, TimePoint now);
  // A worker is gone and with it what it had seen; its successor finds out anew.
  void forget(unsigned worker);

  [[nodiscard]] bool is_lost() const noexcept { return !lost_in_.empty(); }
  // "refuses connections"; empty when it is not lost.
  [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

 private:
  std::string proxy_;
  bool killswitch_ = true;
  bool has_credentials_ = false;
  std::set<unsigned> lost_in_;  // workers that cannot reach it
  std::string trouble_;
  TimePoint since_{};
};

// What a person calls it: "refuses connections", "does not answer".
std::string describe(const ProxyLost& message, bool has_credentials);
// "0.4 s", "12 s", "3 min 5 s"
std::string describe(Duration time);

}  // namespace proxyvpn::app
