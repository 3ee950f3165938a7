#pragma once
// The requests of whoever reads the metrics: HTTP/1, GET and HEAD, bounded. No sockets.
#include <http_parser.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace proxyvpn::app {

class MetricsRequest {
 public:
  static constexpr std::size_t kMostBytes = 8192;
  enum class State : std::uint8_t { NeedMore, Complete };

  MetricsRequest();
  MetricsRequest(const MetricsRequest&) = delete;
  MetricsRequest& operator=(const MetricsRequest&) = delete;

  State feed(std::string_view bytes) noexcept;
  // Complete only: 200 when the metrics are asked for, else what to answer (RFC 9110): 400, 404,
  // 405, 431.
  [[nodiscard]] int status() const noexcept { return status_; }
  [[nodiscard]] bool is_head() const noexcept { return head_; }

 private:
  State end(int status) noexcept;
  http_parser parser_{};
  http_parser_settings settings_{};
  std::string target_;
  std::size_t bytes_ = 0;
  State state_ = State::NeedMore;
  int status_ = 0;
  bool head_ = false;
  bool whole_ = false;  // the head was read to its end
};

// A whole response; `head_only` leaves the body out.
std::string metrics_response(int status, std::string_view body, bool head_only);

}  // namespace proxyvpn::app
