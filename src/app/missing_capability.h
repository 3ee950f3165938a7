#pragma once
// Why CAP_NET_ADMIN is missing, and what to do.
#include <optional>
#include <string>

#include "app/capabilities.h"

namespace proxyvpn::app {

// The two halves of explain_missing().
struct MissingCapability {
  std::string finding;
  std::string advice;
};
// Nothing when it is permitted.
std::optional<MissingCapability> missing_capability(const CapabilityFacts& facts);

}  // namespace proxyvpn::app
