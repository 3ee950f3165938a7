#pragma once
// The flows of a running daemon, as its workers wrote them. These calls wait, for a bounded time.
#include <string>
#include <vector>

#include "app/config.h"
#include "app/flow_dump.h"
#include "base/error.h"

namespace proxyvpn::app {

struct FlowList {
  TimePoint taken;
  std::uint64_t open = 0;  // that there are; more than the list holds when it is not complete
  bool complete = true;    // every worker answered in time and with everything
  std::vector<FlowRecord> flows;
};

// NotFound: no daemon. Permission: this user may not ask.
Result<FlowList> read_flows(const Config& config);
// Has a flow reset and waits until it is gone. NotFound: it is not open.
Result<> kill_flow(const Config& config, std::uint64_t id);

}  // namespace proxyvpn::app
