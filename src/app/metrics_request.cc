#include "app/metrics_request.h"

#include "app/metrics_text.h"

namespace proxyvpn::app {
namespace {

const char* reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Bad Request";
  }
}

}  // namespace

MetricsRequest::MetricsRequest() {
  http_parser_init(&parser_, HTTP_REQUEST);
  parser_.data = this;
  http_parser_settings_init(&settings_);
  settings_.on_url = [](http_parser* parser, const char* at, std::size_t n) noexcept {
    static_cast<MetricsRequest*>(parser->data)->target_.append(at, n);
    return 0;
  };
  // Nothing behind the head is of interest: the connection ends with the answer.
  settings_.on_headers_complete = [](http_parser* parser) noexcept {
    static_cast<MetricsRequest*>(parser->data)->whole_ = true;
    return -1;
  };
}

MetricsRequest::State MetricsRequest::end(int status) noexcept {
  status_ = status;
  state_ = State::Complete;
  return state_;
}

MetricsRequest::State MetricsRequest::feed(std::string_view bytes) noexcept {
  if (state_ == State::Complete) return state_;
  const bool too_long = bytes.size() > kMostBytes - bytes_;
  const std::string_view part = bytes.substr(0, kMostBytes - bytes_);
  bytes_ += part.size();
  http_parser_execute(&parser_, &settings_, part.data(), part.size());
  if (whole_) {
    head_ = parser_.method == HTTP_HEAD;
    if (!head_ && parser_.method != HTTP_GET) return end(405);
    const std::string_view path = std::string_view(target_).substr(0, target_.find('?'));
    return end(path == "/metrics" || path == "/" ? 200 : 404);
  }
  if (HTTP_PARSER_ERRNO(&parser_) != HPE_OK) return end(400);
  return too_long || bytes_ == kMostBytes ? end(431) : state_;
}

std::string metrics_response(int status, std::string_view body, bool head_only) {
  const std::string text = status == 200 ? std::string(body) : std::string(reason(status)) + "\n";
  std::string response = "HTTP/1.1 " + std::to_string(status) + " " + reason(status) + "\r\n";
  response += std::string("Content-Type: ") +
              (status == 200 ? kMetricsContentType : "text/plain; charset=utf-8") + "\r\n";
  response += "Content-Length: " + std::to_string(text.size()) + "\r\n";
  if (status == 405) response += "Allow: GET, HEAD\r\n";
  response += "Connection: close\r\n\r\n";
  return head_only ? response : response + text;
}

}  // namespace proxyvpn::app
