// The head of a web server's answer, as doctor reads its Date.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "probe/refusal_probe.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string head(reinterpret_cast<const char*>(data), size);
  const auto date = proxyvpn::probe::parse_date(head);
  // Years of four digits: nothing beyond them can come of it.
  if (date && (*date < -62'200'000'000 || *date > 253'500'000'000)) std::abort();
  return 0;
}
