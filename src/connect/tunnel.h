#pragma once
// One captured connection and its way through the proxy: wait for a socket, connect, CONNECT,
// relay.
//
//   Waiting -> Connecting -> Asking -> Accepting -> Relaying -> (gone)
//
// The SYN stays held until the proxy has said 2xx. While relaying, bytes go by reference: from the
// flow's frames to the socket, from the socket into the flow's memory.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "connect/address_order.h"
#include "connect/flow_info.h"
#include "connect/http_connect.h"
#include "connect/proxy_health.h"
#include "event/reactor.h"
#include "stack/tcp_flow.h"

namespace proxyvpn::connect {

class TunnelTable;

enum class End : std::uint8_t {
  Open,    // still there
  Closed,  // both sides finished
  ResetByApp,
  ResetByProxy,
  Refused,       // by the proxy: `status`
  ProxyTrouble,  // `trouble`
  TimedOut,
  NoSocket,
  Stopped,
};

class Tunnel final : public stack::FlowHandler, public event::Handler {
 public:
  Tunnel(TunnelTable& table, stack::TcpFlow& flow, std::uint64_t id);
  ~Tunnel() override;
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;

  void start() noexcept;
  // There may be sockets again. False: still none.
  bool socket_available() noexcept;
  // More work is left over from the last turn.
  void resume() noexcept;
  // Resets both sides, for `kill` and at the end.
  void stop(End why) noexcept;

  void on_established() noexcept override;
  void on_readable() noexcept override;
  void on_writable() noexcept override;
  void on_reset() noexcept override;
  void on_closed() noexcept override;
  void on_event(std::uint32_t events) noexcept override;

  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] const stack::FlowKey& key() const noexcept { return key_; }
  [[nodiscard]] FlowInfo info() const noexcept;

 private:
  friend class TunnelTable;
  enum class State : std::uint8_t { Waiting, Connecting, Asking, Accepting, Relaying, Gone };

  // What only the set-up needs; freed when bytes flow.
  struct Setup;
  struct Attempt;

  // setup: tunnel_setup.cc
  void race() noexcept;  // starts what the schedule says
  bool try_address(std::size_t index) noexcept;
  int begin_connect(int fd, const IpAddress& address) noexcept;
  void wait_for_port() noexcept;
  bool use_ready() noexcept;  // a connection that was opened ahead
  void watch_primary(std::uint32_t events) noexcept;
  void attempt_event(Attempt& attempt, std::uint32_t events) noexcept;
  void attempt_failed(std::size_t index, int err) noexcept;
  void attempt_connected(std::size_t index) noexcept;
  void start_over() noexcept;  // on a fresh connection
  void ask() noexcept;         // sends the CONNECT request
  void send_request() noexcept;
  void read_reply() noexcept;
  void handle_reply(const Reply& reply, const std::uint8_t* rest, std::size_t n) noexcept;
  void set_up_timed_out() noexcept;
  void refuse(stack::Refusal how, End why) noexcept;
  void trouble(Trouble what, int err) noexcept;

  // relay: tunnel.cc
  void pump_up() noexcept;
  void pump_down() noexcept;
  void read_on() noexcept;
  bool read_some() noexcept;
  void finish_up() noexcept;
  void close_socket(bool reset) noexcept;
  void gone(End why) noexcept;

  TunnelTable& table_;
  stack::TcpFlow* flow_;  // null when it is dead
  stack::FlowKey key_;
  std::unique_ptr<Setup> setup_;
  UniqueFd fd_;
  std::uint64_t id_;
  TimePoint started_;
  TimePoint active_;  // when a byte went either way
  std::uint64_t bytes_up_ = 0;
  std::uint64_t bytes_down_ = 0;
  std::string_view reason_;  // why there is no tunnel, for the log: a fixed text, or empty
  std::uint32_t slot_ = 0;   // index in the table's list
  int status_ = 0;           // the proxy's final status
  State state_ = State::Waiting;
  Trouble trouble_ = Trouble::None;
  bool readable_ : 1 = false;  // the socket may have bytes (edge-triggered)
  bool writable_ : 1 = false;
  bool hangup_ : 1 = false;     // EPOLLRDHUP was seen: read until the end
  bool up_done_ : 1 = false;    // application's FIN passed on
  bool down_done_ : 1 = false;  // proxy's FIN passed on
  bool bulk_ : 1 = false;       // the last reads were large
  bool queued_ : 1 = false;     // in the table's list of leftovers
  bool pending_ : 1 = false;    // counted as pending by the table
};

}  // namespace proxyvpn::connect
