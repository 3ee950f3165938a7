// In place of metrics_text.cc where prometheus-cpp is not to be had (-DPROXYVPN_METRICS=OFF).
#include "app/metrics_text.h"

namespace proxyvpn::app {

Result<std::string> metrics_text(const Status& /*status*/) {
  return fail(Code::Unsupported,
              "this build has no metrics: it was made without prometheus-cpp (PROXYVPN_METRICS)");
}

}  // namespace proxyvpn::app
