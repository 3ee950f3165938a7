// What the process that reads the configuration again tells the supervisor: whatever its bytes,
// they are options or nothing, and options are written to the very same bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "app/effective_options.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxyvpn::app;
  const auto options = decode_options({data, size});
  if (!options) return 0;
  const auto again = encode(*options);
  const auto back = decode_options(again);
  if (!back || back->values != options->values || back->mistakes != options->mistakes) std::abort();
  return 0;
}
