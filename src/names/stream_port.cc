#include "names/stream_port.h"

#include <algorithm>
#include <utility>

#include "dns/message.h"

namespace proxyvpn::names {
namespace {

constexpr std::size_t kPrefix = 2;  // the length in front of a message (RFC 1035 4.2.2)

}  // namespace

// One client's connection: a question, its answer, the next question. One at a time, so that what
// waits here is one message each way.
class StreamPort::Conversation final : public stack::FlowHandler,
                                       public std::enable_shared_from_this<Conversation> {
 public:
  Conversation(StreamPort& port, stack::TcpFlow& flow)
      : port_(port), flow_(&flow), idle_([this] { stop(); }) {}

  void start() noexcept {
    flow_->set_handler(this);
    flow_->accept();
    touch();
  }
  void stop() noexcept {
    if (flow_ != nullptr) std::exchange(flow_, nullptr)->abort();
    idle_.cancel();
    port_.bury(*this);
  }

  void on_established() noexcept override {}
  void on_readable() noexcept override { read(); }
  void on_writable() noexcept override {
    write();
    read();
  }
  void on_reset() noexcept override { gone(); }
  void on_closed() noexcept override { gone(); }

 private:
  void touch() noexcept { idle_.arm(port_.reactor_.timers(), port_.reactor_.now() + kIdleLimit); }

  void gone() noexcept {
    flow_ = nullptr;
    idle_.cancel();
    port_.bury(*this);
  }

  // Bytes of one message at most are taken: what is behind it stays in the flow.
  void read() noexcept {
    if (reading_) return;  // the answer came at once: the loop below goes on
    reading_ = true;
    read_on();
    reading_ = false;
  }

  void read_on() noexcept {
    while (flow_ != nullptr && !asking_ && output_.empty()) {
      iovec piece{};
      const std::size_t missing = wanted() - input_.size();
      if (missing != 0 && flow_->readable({&piece, 1}) != 0) {
        const std::size_t n = std::min(missing, piece.iov_len);
        const auto* from = static_cast<const std::uint8_t*>(piece.iov_base);
        input_.insert(input_.end(), from, from + n);
        flow_->consume(n);
        touch();
        continue;
      }
      if (missing == 0) {
        ask();
        continue;
      }
      if (flow_->read_eof() && !finished_) {
        finished_ = true;
        flow_->finish();
      }
      return;
    }
  }

  [[nodiscard]] std::size_t wanted() const noexcept {
    if (input_.size() < kPrefix) return kPrefix;
    return kPrefix + (static_cast<std::size_t>(input_[0]) << 8 | input_[1]);
  }

  void ask() {
    asking_ = true;
    const std::vector<std::uint8_t> message(input_.begin() + kPrefix, input_.end());
    input_.clear();
    // The answer may come when the client has gone. An answer that never comes leaves the
    // connection to its idle limit.
    port_.answerer_.ask(message, Transport::Stream,
                        [weak = weak_from_this()](std::span<const std::uint8_t> answer) {
                          if (const auto self = weak.lock()) self->answered(answer);
                        });
  }

  void answered(std::span<const std::uint8_t> answer) {
    if (flow_ == nullptr) return;
    asking_ = false;
    output_ = dns::with_length_prefix(answer);
    touch();
    write();
    if (output_.empty()) read();
  }

  void write() noexcept {
    while (flow_ != nullptr && !output_.empty()) {
      const auto room = flow_->send_buffer(output_.size());
      if (room.empty()) return;
      const std::size_t n = std::min(room.size(), output_.size());
      std::copy_n(output_.begin(), n, room.begin());
      flow_->commit(n);
      output_.erase(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(n));
      touch();
    }
  }

  StreamPort& port_;
  stack::TcpFlow* flow_;  // null when it is dead
  event::Timer idle_;
  std::vector<std::uint8_t> input_;
  std::vector<std::uint8_t> output_;
  bool asking_ = false;
  bool reading_ = false;
  bool finished_ = false;
};

StreamPort::StreamPort(event::Reactor& reactor, stack::FlowAcceptor& next, Answerer& answerer,
                       std::vector<IpAddress> servers)
    : reactor_(reactor), next_(next), answerer_(answerer), servers_(std::move(servers)) {}

StreamPort::~StreamPort() { stop_all(); }

void StreamPort::on_syn(stack::TcpFlow& flow) noexcept {
  const Endpoint& to = flow.key().destination;
  const bool ours = to.port == dns::kPort &&
                    std::find(servers_.begin(), servers_.end(), to.address) != servers_.end();
  if (!ours) return next_.on_syn(flow);
  if (conversations_.size() >= kMost) return flow.refuse(stack::Refusal::Refused);
  conversations_.push_back(std::make_shared<Conversation>(*this, flow));
  conversations_.back()->start();
}

void StreamPort::stop_all() noexcept {
  while (!conversations_.empty()) conversations_.front()->stop();
  end_of_turn();
}

// It may be inside a function of its own, or of its timer's.
void StreamPort::bury(const Conversation& conversation) noexcept {
  const auto at = std::find_if(conversations_.begin(), conversations_.end(),
                               [&](const auto& one) { return one.get() == &conversation; });
  if (at != conversations_.end()) dead_.splice(dead_.end(), conversations_, at);
}

}  // namespace proxyvpn::names
