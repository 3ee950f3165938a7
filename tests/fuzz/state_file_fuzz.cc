// The state file: whatever is in it, parsing ends, and what was accepted is written the same again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "app/state_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxyvpn::app;
  const auto state = parse_state({reinterpret_cast<const char*>(data), size});
  if (!state) return 0;
  const auto again = parse_state(to_text(*state));
  if (!again || !(*again == *state)) std::abort();
  return 0;
}
