// What one end of the worker channel reads from the other: any bytes decode to nothing, or to a
// message that encodes to the very same bytes.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>

#include "app/worker_protocol.h"

namespace {

template <class Message>
void round_trip(const std::optional<Message>& message, std::span<const std::uint8_t> bytes) {
  if (!message) return;
  const auto again = proxyvpn::app::encode(*message);
  if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(data, size);
  const auto up = proxyvpn::app::decode_to_supervisor(bytes);
  const auto down = proxyvpn::app::decode_to_worker(bytes);
  if (up && down) std::abort();  // no message means something in both directions
  round_trip(up, bytes);
  round_trip(down, bytes);
  return 0;
}
