#pragma once
// What `up` finds out and decides before anything on the machine changes.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/host_facts.h"
#include "app/lifecycle.h"
#include "app/sandbox.h"
#include "app/signals.h"
#include "base/error.h"
#include "base/ip.h"
#include "base/log.h"

namespace proxyvpn::app {

using Complain = std::function<void(log::Level level, const std::string& sentence)>;

struct Decision {
  std::shared_ptr<HostFacts> facts;  // kept, for deciding again when the network changes
  std::vector<Endpoint> proxies;     // in order of preference, at least one
  unsigned workers = 1;
  HostPlan plan;
};

// Looks at the machine, judges, looks the proxy's name up. Every warning and every error but the
// last goes to `complain` as a sentence; the last error is the answer. A signal that ends the
// program (`signals`, may be null) ends the waiting for a name.
// `progress`: what is being waited for, empty afterwards.
Result<Decision> decide(const Config& config, const SandboxUser& user, const Signals* signals,
                        const Complain& complain,
                        const std::function<void(const std::string&)>& progress = {});

}  // namespace proxyvpn::app
