#pragma once
// What this kernel can do, found out by doing it: in a child process with a network namespace of
// its own, which vanishes with everything that was tried in it. The machine's own network is not
// touched (the kernel may load modules), and no privilege is needed where user namespaces are open
// to everybody.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace proxyvpn::app {

struct Trial {
  std::string name;  // one of those below
  bool works = false;
  std::string words;  // what the kernel said, or how it works; one line
  friend bool operator==(const Trial&, const Trial&) = default;
};

// In this order; what a trial needs that failed before is left out.
inline constexpr std::string_view kTrialTun = "tun";            // words: "offload", "no offload"
inline constexpr std::string_view kTrialNftables = "nftables";  // our whole rule set
inline constexpr std::string_view kTrialOwner = "table-owner";  // words: "persist", "owner"
inline constexpr std::string_view kTrialEgress = "egress";      // with an egress chain
inline constexpr std::string_view kTrialRules4 = "rules-v4";    // policy rules and routes
inline constexpr std::string_view kTrialRules6 = "rules-v6";
inline constexpr std::string_view kTrialDestroy = "sock-destroy";

struct KernelTrials {
  std::string cannot_try;  // why there is no namespace to try in; empty when there was one
  std::vector<Trial> trials;
  [[nodiscard]] const Trial* find(std::string_view name) const noexcept;
};

// Takes `at_most` altogether; what was not finished by then is missing. The caller has one thread.
KernelTrials try_kernel(Duration at_most = seconds(8));

// What the child writes, one line per trial, and how it is read: for tests.
std::string to_line(const Trial& trial);
std::optional<Trial> parse_trial(std::string_view line);

}  // namespace proxyvpn::app
