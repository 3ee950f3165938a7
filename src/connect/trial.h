#pragma once
// A connection that no application asked for: shows, before anybody depends on it, whether the
// proxy answers CONNECT and takes our credentials.
#include <functional>

#include "base/clock.h"
#include "event/reactor.h"
#include "stack/tcp_flow.h"

namespace proxyvpn::connect {

class TunnelTable;

enum class TrialResult : std::uint8_t {
  Answered,    // the proxy has answered in good order: traffic flows
  Failed,      // it is lost; ProxyEvents::lost has been told why
  Unanswered,  // it takes connections and has not answered yet, as when it looks a name up slowly
};

// The flow behind a Tunnel that is tried. Its target is a name that cannot exist (RFC 6761 6.4), so
// that the proxy checks the credentials and then refuses without asking anybody but a resolver.
class Trial final : private stack::TcpFlow {
 public:
  static constexpr Duration kPatience = seconds(5);
  // A proxy that answers nonsense, or closes, counts as lost when it does so this many times.
  static constexpr unsigned kAttempts = 3;

  // `done` is called once, from the reactor; it must not destroy the Trial. `table` outlives it.
  Trial(TunnelTable& table, event::Reactor& reactor, std::function<void(TrialResult)> done);
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  void start(Duration patience = kPatience) noexcept;

  // What stands for the target in a flow's key: no packet can have this destination. Such a flow is
  // no application's, and stands in no count of theirs.
  static Endpoint key_target() noexcept;
  static bool is_one(const stack::FlowKey& key) noexcept { return key.destination == key_target(); }

 private:
  void begin() noexcept;
  void decide() noexcept;
  void out_of_patience() noexcept;
  void end(TrialResult result) noexcept;
  void give_up() noexcept;  // as an application does that closes its socket

  [[nodiscard]] const stack::FlowKey& key() const noexcept override { return key_; }
  void set_handler(stack::FlowHandler* handler) noexcept override { handler_ = handler; }
  void accept() noexcept override;
  void refuse(stack::Refusal how) noexcept override;
  std::size_t readable(std::span<iovec>) const noexcept override { return 0; }
  [[nodiscard]] std::size_t readable_bytes() const noexcept override { return 0; }
  void consume(std::size_t) noexcept override {}
  [[nodiscard]] bool read_eof() const noexcept override { return false; }
  [[nodiscard]] std::size_t send_room() const noexcept override { return 0; }
  std::span<std::uint8_t> send_buffer(std::size_t) noexcept override { return {}; }
  void commit(std::size_t) noexcept override {}
  void finish() noexcept override {}
  void abort() noexcept override { handler_ = nullptr; }

  TunnelTable& table_;
  event::Reactor& reactor_;
  std::function<void(TrialResult)> done_;
  stack::FlowKey key_;
  stack::FlowHandler* handler_ = nullptr;  // the tunnel; null when the flow is dead
  event::Timer decide_;                    // outside of the tunnel's own calls
  event::Timer patience_;
  unsigned attempts_ = 0;
  bool trouble_ = false;  // the last answer blames the proxy
};

}  // namespace proxyvpn::connect
