// A daemon's status as a client reads it: any bytes are none, or a status that is written and read
// again as it was.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "app/status_json.h"
#include "app/status_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxyvpn::app;
  const auto status = parse_status({reinterpret_cast<const char*>(data), size});
  if (!status) return 0;
  const auto json = to_json(*status);
  const auto again = parse_status(json);
  if (!again || to_json(*again) != json || status_text(*again).empty()) std::abort();
  return 0;
}
