// The control socket's two parsers: a request in any pieces, and a daemon's reply.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "app/control_protocol.h"

using proxyvpn::app::RequestReader;

namespace {

RequestReader::State read_in_pieces(std::string_view text, std::size_t piece) {
  RequestReader reader;
  auto state = RequestReader::State::NeedMore;
  while (!text.empty()) {
    const std::size_t n = piece < text.size() ? piece : text.size();
    state = reader.feed(text.substr(0, n));
    text.remove_prefix(n);
  }
  return state;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // The way in which bytes arrive decides nothing.
  const auto whole = read_in_pieces(text, size);
  const std::size_t piece = size == 0 ? 1 : data[0] % 7 + 1;
  if (read_in_pieces(text, piece) != whole) std::abort();
  const auto reply = proxyvpn::app::parse_reply(text);
  if (!reply || !reply->ok) return 0;
  // What was understood is understood again, and no field can become a line of its own.
  const auto again = proxyvpn::app::parse_reply(proxyvpn::app::ok_reply(reply->fields));
  if (!again || !again->ok || again->fields.size() != reply->fields.size()) std::abort();
  return 0;
}
