// Random segments, options, windows, raw packets, timers and API calls against the whole TCP stack.
// lwIP's assertions abort; at the end nothing may be left: no flow, no buffer, no timer.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "stack/lwip_stack.h"
#include "testing/tcp_peer.h"

namespace {

using namespace proxyvpn;
using Bytes = std::vector<std::uint8_t>;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "stack_fuzz: %s\n", what);
  std::abort();
}

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  Bytes bytes(std::size_t n) {
    n = std::min(n, left_);
    Bytes out(data_, data_ + n);
    data_ += n;
    left_ -= n;
    return out;
  }
  [[nodiscard]] bool empty() const { return left_ == 0; }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

struct Handler final : stack::FlowHandler {
  void on_established() noexcept override { established = true; }
  void on_readable() noexcept override {}
  void on_writable() noexcept override {}
  void on_reset() noexcept override { flow = nullptr; }
  void on_closed() noexcept override { flow = nullptr; }
  stack::TcpFlow* flow = nullptr;
  bool established = false;
};

struct Acceptor final : stack::FlowAcceptor {
  void on_syn(stack::TcpFlow& flow) noexcept override {
    handlers.push_back(std::make_unique<Handler>());
    handlers.back()->flow = &flow;
    flow.set_handler(handlers.back().get());
  }
  std::vector<std::unique_ptr<Handler>> handlers;
};

constexpr int kConnections = 6;

stack::FlowKey key_of(int i) {
  const auto port = static_cast<std::uint16_t>(1000 + i);
  if (i % 2 == 0) return {{IpAddress::v4(0x0a000001), port}, {IpAddress::v4(0xc0000201), 443}};
  return {{*IpAddress::parse("fd00::1"), port}, {*IpAddress::parse("2001:db8::1"), 443}};
}

class World {
 public:
  explicit World(std::uint8_t mode)
      : io_({(mode & 1) != 0, (mode & 1) != 0, (mode & 2) != 0 && (mode & 1) != 0}),
        stack_(io_, acceptor_, timers_, {.memory_budget = 1 << 20, .base_window = 8192}) {
    for (int i = 0; i < kConnections; ++i) {
      peers_.emplace_back(io_, key_of(i), (mode & 4) != 0 ? 0xfffffff0U : 1000U);
    }
  }
  void step(Input& in);
  void check_end();

 private:
  void segment(Input& in);
  void call(Input& in);
  void answer() {
    for (auto& peer : peers_) {
      auto kept = io_.outgoing;
      while (peer.take()) {
      }
      io_.outgoing = std::move(kept);
    }
    io_.outgoing.clear();
  }

  testing::FakePacketIo io_;
  Acceptor acceptor_;
  event::TimerQueue timers_;
  stack::LwipStack stack_;
  std::vector<testing::TcpPeer> peers_;
};

void World::segment(Input& in) {
  auto& peer = peers_[in.byte() % kConnections];
  const std::uint8_t flags = in.byte() & 0x3f;
  const auto skew = static_cast<std::int8_t>(in.byte());
  const auto ack_skew = static_cast<std::int8_t>(in.byte());
  const std::uint8_t size = in.byte();
  const std::size_t length = size < 200 ? size * 8U : (size - 200U) * 1100U;
  Bytes options = in.bytes(in.byte() % 5 * 4U);
  options.resize(options.size() / 4 * 4);
  const auto next = peer.next;
  const auto expected = peer.expected;
  peer.window = static_cast<std::uint16_t>(in.byte() << 8);
  peer.next += static_cast<std::uint32_t>(skew * 64);
  peer.expected += static_cast<std::uint32_t>(ack_skew * 64);
  peer.send(flags, options, Bytes(length, 'x'));
  peer.expected = expected;
  const bool in_order = skew == 0 && (flags & tun::kRst) == 0;
  peer.next = in_order ? next + static_cast<std::uint32_t>(length) +
                             ((flags & (tun::kSyn | tun::kFin)) != 0 ? 1U : 0U)
                       : next;
}

void World::call(Input& in) {
  if (acceptor_.handlers.empty()) return;
  Handler& handler = *acceptor_.handlers[in.byte() % acceptor_.handlers.size()];
  if (handler.flow == nullptr) return;
  auto& flow = *handler.flow;
  const std::uint8_t what = in.byte();
  switch (what % 6) {
    case 0:
      flow.accept();
      break;
    case 1:
      handler.flow = nullptr;
      flow.refuse(static_cast<stack::Refusal>(in.byte() % 5));
      break;
    case 2:
      flow.consume(in.byte() * 64U);
      break;
    case 3: {
      const auto room = flow.send_buffer(in.byte() * 1024U);
      std::fill(room.begin(), room.end(), std::uint8_t{'y'});
      flow.commit(room.size() / (1U + what % 2));
      break;
    }
    case 4:
      flow.finish();
      break;
    default:
      handler.flow = nullptr;
      flow.abort();
      break;
  }
}

void World::step(Input& in) {
  switch (in.byte() % 8) {
    case 0:
    case 1:
      segment(in);
      break;
    case 2:
      io_.push(in.bytes(in.byte()), tun::VnetHeader{in.byte(), 0, 0, 0, 0, 0});
      break;
    case 3:
      timers_.set_now(timers_.now() + milliseconds(10 * in.byte()));
      timers_.fire(timers_.now());
      break;
    case 4:
    case 5:
      call(in);
      break;
    case 6:
      io_.full = in.byte() % 4 == 0;
      break;
    default:
      answer();
      break;
  }
  while (stack_.drain()) {
  }
  stack_.flush();
}

void World::check_end() {
  io_.full = false;
  stack_.abort_all();
  require(stack_.flows() == 0, "flows are left");
  require(stack_.buffered_bytes() == 0, "buffers are left");
  require(stack_.busy_flows() == 0, "timers are left");
  require(stack::assertions_failed() == 0, "an assertion failed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  World world(in.byte());
  for (int i = 0; i < 400 && !in.empty(); ++i) world.step(in);
  world.check_end();
  return 0;
}
