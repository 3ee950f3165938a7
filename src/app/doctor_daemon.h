#pragma once
// The daemon of this machine as `doctor` finds it.
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/doctor_running.h"
#include "base/ip.h"

namespace proxyvpn::app {

struct FoundDaemon {
  bool up = false;    // one runs
  bool shut = false;  // none runs, and what one left keeps the machine shut
  bool locked = false;
  DaemonFacts facts;
  std::optional<uid_t> uid;  // the user that it runs as
  std::string proxy_url;     // without the password; empty: not known
  std::vector<IpAddress> proxies;
  std::vector<IpAddress> resolvers;
  std::string tun_name;  // empty: not known
};

// Asks the control socket (three seconds at most); where none answers, the kernel tells.
FoundDaemon find_daemon(const Config& config);

// What it has counted so far; nothing when it does not tell.
struct DaemonCounts {
  std::optional<std::uint64_t> flows;    // connections that it was asked for
  std::optional<std::uint64_t> refused;  // packets that the killswitch refused
};
DaemonCounts count_daemon(const Config& config);

}  // namespace proxyvpn::app
