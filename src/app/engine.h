#pragma once
// The data plane: reactor, TUN I/O, stack and tunnels in one single-threaded process without
// privileges. It is given its descriptors and its numbers; it opens nothing itself.
#include <cstdint>
#include <optional>
#include <vector>

#include "app/worker_stats.h"
#include "base/clock.h"
#include "base/ip.h"
#include "base/unique_fd.h"
#include "connect/flow_book.h"
#include "connect/http_connect.h"
#include "tun/packet_io.h"

namespace proxyvpn::app {

// DNS for who sits behind the TUN, answered here (src/names). Off unless there are servers.
struct NamesConfig {
  std::vector<IpAddress> servers;  // addresses behind the TUN where questions are answered, port 53
  IpAddress stand_ins;             // the first address that stands for a name
  std::size_t stand_in_count = 0;
};

struct EngineConfig {
  UniqueFd tun;  // one queue of the TUN device, non-blocking
  tun::Offloads offloads;
  UniqueFd channel;  // to the supervisor, see worker_protocol.h; its end ends the engine
  WorkerStats* stats = nullptr;       // not owned; may be null
  connect::FlowBook* book = nullptr;  // the same
  std::vector<Endpoint> proxies;      // in order of preference; at least one
  std::optional<connect::Credentials> credentials;
  milliseconds connect_timeout{10'000};
  unsigned preconnect = 0;
  bool fast_open = true;
  std::uint64_t memory_budget = 256ull << 20;
  bool verbose = false;
  bool try_proxy = false;  // Ready is said only when the proxy has answered
  std::uint64_t first_flow_id = 1;
  NamesConfig names;
};

// Runs until Stop or the end of the channel; every flow is reset before it returns.
// Returns the process's exit status. The caller has already dropped privileges and, except under
// sanitizers, installed the seccomp filter of app/sandbox.
int run_engine(EngineConfig config) noexcept;

}  // namespace proxyvpn::app
