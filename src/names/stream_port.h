#pragma once
// DNS over TCP to our own addresses (RFC 7766): such connections are answered here, all others go
// to the next acceptor.
#include <list>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "event/reactor.h"
#include "names/answerer.h"
#include "stack/tcp_flow.h"

namespace proxyvpn::names {

class StreamPort final : public stack::FlowAcceptor {
 public:
  static constexpr std::size_t kMost = 32;  // conversations at a time; more are refused
  static constexpr Duration kIdleLimit = seconds(15);

  // `servers`: where questions are answered, port 53. Nothing is owned; all outlive this.
  StreamPort(event::Reactor& reactor, stack::FlowAcceptor& next, Answerer& answerer,
             std::vector<IpAddress> servers);
  ~StreamPort() override;
  void on_syn(stack::TcpFlow& flow) noexcept override;
  // Resets every conversation.
  void stop_all() noexcept;
  void end_of_turn() noexcept { dead_.clear(); }
  [[nodiscard]] std::size_t size() const noexcept { return conversations_.size(); }

 private:
  class Conversation;
  void bury(const Conversation& conversation) noexcept;

  event::Reactor& reactor_;
  stack::FlowAcceptor& next_;
  Answerer& answerer_;
  std::vector<IpAddress> servers_;
  std::list<std::shared_ptr<Conversation>> conversations_;
  std::list<std::shared_ptr<Conversation>> dead_;
};

}  // namespace proxyvpn::names
