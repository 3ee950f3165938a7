// What somebody sends to --metrics: the way in which bytes arrive decides nothing, and whatever it
// is ends in an answer of ours or in more being wanted.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "app/metrics_request.h"

namespace {

int status_in_pieces(std::string_view text, std::size_t piece) {
  proxyvpn::app::MetricsRequest request;
  while (!text.empty()) {
    const std::size_t n = piece < text.size() ? piece : text.size();
    request.feed(text.substr(0, n));
    text.remove_prefix(n);
  }
  return request.status();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const int status = status_in_pieces(text, size == 0 ? 1 : size);
  if (status_in_pieces(text, size == 0 ? 1 : data[0] % 7 + 1) != status) std::abort();
  if (status != 0 && status != 200 && (status < 400 || status > 431)) std::abort();
  if (status == 0) return 0;
  const auto response = proxyvpn::app::metrics_response(status, "x 1\n", false);
  if (response.find("\r\n\r\n") == std::string::npos) std::abort();
  return 0;
}
