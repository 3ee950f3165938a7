// What a name server sends. The first two bytes become the id of a fixed question, and the rest is
// tried as it comes and behind that question's own bytes, so that record parsing is reached at
// once.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "dns/message.h"

namespace {

using namespace proxyvpn::dns;

void check(std::span<const std::uint8_t> message, const Query& query) {
  const auto answer = parse_answer(message, query);
  if (!answer) {
    if (answer.error().message.empty()) std::abort();
    return;
  }
  if (answer->records.size() > kMaxRecords) std::abort();
  for (const auto& record : answer->records) {
    for (const char c : to_string(record)) {
      if (c < ' ' || c > '~') std::abort();  // it goes to a terminal
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto fixed = build_query("www.example.org", RecordType::A);
  if (!fixed) std::abort();
  Query query = *fixed;
  const std::span<const std::uint8_t> input(data, size);
  if (size >= 2) query.id = static_cast<std::uint16_t>(data[0] << 8 | data[1]);
  check(input, query);

  if (size >= 4) {
    std::vector<std::uint8_t> message = query.bytes;
    std::copy_n(input.begin(), 2, message.begin());
    message[2] = 0x81;
    message[3] = data[2];
    message[7] = data[3];  // number of answers
    message.insert(message.end(), input.begin() + 4, input.end());
    check(message, query);
  }

  TcpMessageReader reader;
  for (std::size_t at = 0; at < size; at += 7) {
    if (!reader.feed(input.subspan(at, std::min<std::size_t>(7, size - at)))) continue;
    check(reader.message(), query);
    break;
  }
  return 0;
}
