// What the resolver child writes to the supervisor: any bytes give an error with a text, or
// addresses that a packet can be sent to.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "app/resolver.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto answer = proxyvpn::app::decode_answer("proxy.example", std::span(data, size));
  if (!answer) {
    if (answer.error().message.empty()) std::abort();
    return 0;
  }
  if (answer->empty() || answer->size() > proxyvpn::app::kMaxProxyAddresses) std::abort();
  for (const auto& address : *answer) {
    if (address.is_unspecified() || address.is_multicast()) std::abort();
  }
  return 0;
}
