#pragma once
// Status in the text form that Prometheus reads (exposition format 0.0.4).
#include <string>

#include "app/status.h"
#include "base/error.h"

namespace proxyvpn::app {

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

// Unsupported when this build is without the library for it. Without a daemon there is the state
// alone.
Result<std::string> metrics_text(const Status& status);

}  // namespace proxyvpn::app
