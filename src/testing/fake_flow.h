#pragma once
// A TcpFlow without a stack: a test plays the application on its other side.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "stack/tcp_flow.h"

namespace proxyvpn::testing {

class FakeFlow final : public stack::TcpFlow {
 public:
  explicit FakeFlow(stack::FlowKey key) : key_(key) {}

  [[nodiscard]] const stack::FlowKey& key() const noexcept override { return key_; }
  void set_handler(stack::FlowHandler* told) noexcept override { handler = told; }
  void accept() noexcept override { accepted = true; }
  void refuse(stack::Refusal how) noexcept override {
    refused = how;
    handler = nullptr;
  }
  std::size_t readable(std::span<iovec> pieces) const noexcept override {
    if (from_app.empty() || pieces.empty()) return 0;
    pieces[0] = {const_cast<char*>(from_app.data()), from_app.size()};
    return 1;
  }
  [[nodiscard]] std::size_t readable_bytes() const noexcept override { return from_app.size(); }
  void consume(std::size_t n) noexcept override { from_app.erase(0, n); }
  [[nodiscard]] bool read_eof() const noexcept override { return app_finished && from_app.empty(); }
  [[nodiscard]] std::size_t send_room() const noexcept override { return room; }
  std::span<std::uint8_t> send_buffer(std::size_t want) noexcept override {
    buffer_.resize(std::min(want, room));
    return buffer_;
  }
  void commit(std::size_t n) noexcept override {
    to_app.append(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(n));
    room -= n;
  }
  void finish() noexcept override { finished = true; }
  void abort() noexcept override {
    aborted = true;
    handler = nullptr;
  }

  // What the stack would tell when the application does these.
  void establish() { handler->on_established(); }
  void app_sends(const std::string& bytes) {
    from_app += bytes;
    handler->on_readable();
  }
  void app_finishes() {
    app_finished = true;
    handler->on_readable();
  }
  void app_resets() { std::exchange(handler, nullptr)->on_reset(); }

  stack::FlowHandler* handler = nullptr;
  std::string from_app;
  std::string to_app;
  std::size_t room = 1 << 20;
  bool accepted = false;
  bool finished = false;
  bool aborted = false;
  bool app_finished = false;
  std::optional<stack::Refusal> refused;

 private:
  stack::FlowKey key_;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace proxyvpn::testing
