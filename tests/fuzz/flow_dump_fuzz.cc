// The table of flows as a worker writes it: any bytes decode to nothing, or to flows that encode to
// the very same records.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "app/flow_dump.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxyvpn::app;
  const std::span bytes(data, size);
  const auto dump = decode_flows(bytes);
  if (!dump) return 0;
  std::vector<std::uint8_t> again;
  append_header(again, dump->taken, dump->open, dump->flows.size());
  for (const auto& flow : dump->flows) append_record(again, flow);
  if (again.size() > size) std::abort();
  // Bytes that a record does not use (of an IPv4 address) need not come back: what is read does.
  const auto second = decode_flows(again);
  if (!second || second->flows != dump->flows || second->open != dump->open) std::abort();
  return 0;
}
