#pragma once
// What there is to say about a daemon and the machine, as values: made by the supervisor (or, when
// none runs, from the kernel's state), sent as JSON (status_json.h), told as text (status_text.h),
// drawn by `status --watch` and counted by `metrics`.
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/worker_totals.h"
#include "base/ip.h"
#include "firewall/firewall.h"

namespace proxyvpn::app {

enum class RunState : std::uint8_t {
  Starting,
  Up,
  ProxyLost,
  WorkerLost,
  Stopping,
  Crashed,  // no daemon, and the machine is shut
  Locked,   // the same on purpose
  Down,     // no daemon, and the machine is open
  Unknown,  // the kernel does not tell
};
// The word that a person reads first: "Up", "Proxy lost", ...
std::string_view to_string(RunState state) noexcept;
// The word for programs: "up", "proxy_lost", ...
std::string_view id_of(RunState state) noexcept;
std::optional<RunState> state_from_id(std::string_view id) noexcept;

// Per second, over the last second or so.
struct Rates {
  std::uint64_t up = 0;    // bytes
  std::uint64_t down = 0;  // bytes
  std::uint64_t flows = 0;
  friend bool operator==(const Rates&, const Rates&) = default;
};

struct WorkerStatus {
  unsigned number = 0;
  pid_t pid = 0;  // 0: none runs at the moment
  std::uint64_t flows_open = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  friend bool operator==(const WorkerStatus&, const WorkerStatus&) = default;
};

struct Status {
  RunState state = RunState::Unknown;
  std::string detail;                    // a sentence, where the state needs one
  pid_t pid = 0;                         // the supervisor; 0: none
  std::int64_t started = 0;              // seconds since the epoch
  std::int64_t now = 0;                  // the same
  std::string proxy_url;                 // without the password
  std::vector<Endpoint> proxies;         // in order of preference
  std::optional<Endpoint> proxy_in_use;  // the last that a connection was made to
  std::string trouble;                   // of the proxy, when it is lost
  std::string tun_name;
  std::vector<Cidr> tun_addresses;
  bool killswitch = true;
  std::string backend;                     // "nftables"
  std::vector<firewall::Counter> refused;  // packets, by reason
  std::vector<IpAddress> resolvers;
  WorkerTotals totals;
  Rates rates;
  std::vector<Rates> history;  // one per second, oldest first; at most RateMeter::kHistory
  unsigned workers = 0;        // that run
  unsigned workers_wanted = 0;
  std::vector<WorkerStatus> worker_list;
  std::optional<std::uint64_t> resident;  // bytes, all processes; empty: not to be seen
  std::uint64_t memory_budget = 0;        // bytes in flight, per worker
};

// True while nothing goes out, neither through the proxy nor beside it.
bool is_shut(const Status& status) noexcept;
// "Up", "Proxy lost (shut)"
std::string state_text(const Status& status);
// All reasons together.
firewall::Counter all_refused(const Status& status);

// The exit status of `proxyvpn status`, for scripts.
inline constexpr int kExitUp = 0;
inline constexpr int kExitDown = 3;       // no daemon, the machine is open (as systemctl is-active)
inline constexpr int kExitShut = 4;       // no daemon, the machine is shut
inline constexpr int kExitNoTraffic = 5;  // a daemon runs, and traffic does not flow now
inline constexpr int kExitTooLate = 6;    // --wait: not within --timeout
// `waited_for_the_end`: Down was what was wanted.
int exit_status(RunState state, bool waited_for_the_end = false) noexcept;

}  // namespace proxyvpn::app
