#pragma once
// One captured TCP connection as the rooms behind the stack see it: its two ends, a stream of bytes
// from the application, a stream of bytes to it, and two decisions (accept, refuse).
//
// Everything happens on the reactor's thread. Callbacks come from TcpStack::flush(), never from
// inside the stack's own input or timers, so a handler may call any function of any flow.
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ip.h"

namespace proxyvpn::stack {

struct FlowKey {
  Endpoint source;       // the application
  Endpoint destination;  // where it wanted to go
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

// What the application's connect(2) shall return. The answer to the held SYN (RFC 9293 3.10.7.3
// RST; RFC 1122 4.2.3.9 and RFC 4443 3.1 for ICMP), measured on Linux in docs/architecture.md.
enum class Refusal : std::uint8_t {
  Refused,             // RST: ECONNREFUSED
  HostUnreachable,     // ICMP 3/1, ICMPv6 1/3: EHOSTUNREACH
  NetworkUnreachable,  // ICMP 3/0, ICMPv6 1/0: ENETUNREACH
  Prohibited,          // ICMP 3/13, ICMPv6 1/3: EHOSTUNREACH
  Silent,              // nothing: ETIMEDOUT by the application's own clock
};

// Told by the flow. No function may throw.
class FlowHandler {
 public:
  virtual ~FlowHandler() = default;
  // The handshake completed after accept(): bytes may flow.
  virtual void on_established() noexcept = 0;
  // There are bytes to take (see TcpFlow::readable), or the application's FIN came
  // (TcpFlow::read_eof).
  virtual void on_readable() noexcept = 0;
  // Bytes were acknowledged, there is room again (see TcpFlow::send_room).
  virtual void on_writable() noexcept = 0;
  // The application reset the connection, or gave up before it was accepted, or the stack lost it
  // (retransmissions without an answer). The flow is dead: only its destruction is allowed.
  virtual void on_reset() noexcept = 0;
  // Both directions are finished and acknowledged. As dead as after on_reset.
  virtual void on_closed() noexcept = 0;
};

// Owned by the stack. Dead, and not to be touched again, after refuse(), abort(), on_reset() and
// on_closed().
class TcpFlow {
 public:
  [[nodiscard]] virtual const FlowKey& key() const noexcept = 0;
  // Not owned; must live until the flow is dead.
  virtual void set_handler(FlowHandler* handler) noexcept = 0;

  // Exactly one of these two answers the held SYN.
  virtual void accept() noexcept = 0;
  virtual void refuse(Refusal how) noexcept = 0;  // the flow is dead afterwards

  // Bytes from the application, in order, by reference: fills up to pieces.size() iovecs.
  // Answers how many were filled. Valid until consume().
  virtual std::size_t readable(std::span<iovec> pieces) const noexcept = 0;
  [[nodiscard]] virtual std::size_t readable_bytes() const noexcept = 0;
  // The first n readable bytes are done with: memory goes back, the window opens (the application
  // hears of it with the next TcpStack::flush()).
  virtual void consume(std::size_t n) noexcept = 0;
  // The application has sent its FIN and everything before it has been consumed.
  [[nodiscard]] virtual bool read_eof() const noexcept = 0;

  // How many bytes to the application may be queued now. 0: wait for on_writable().
  [[nodiscard]] virtual std::size_t send_room() const noexcept = 0;
  // Memory for up to `want` bytes, to be read into directly (recv(2)). May be shorter than wanted;
  // empty when there is no room or no memory: wait for on_writable(). Valid until the next call.
  virtual std::span<std::uint8_t> send_buffer(std::size_t want) noexcept = 0;
  // The first n bytes of the last send_buffer() are the application's; they are sent by reference
  // and stay where they are until they are acknowledged.
  virtual void commit(std::size_t n) noexcept = 0;
  // FIN behind everything written. The reading half stays open.
  virtual void finish() noexcept = 0;
  // RST to the application, now. The flow is dead afterwards.
  virtual void abort() noexcept = 0;

 protected:
  ~TcpFlow() = default;
};

// Decides about new connections.
class FlowAcceptor {
 public:
  virtual ~FlowAcceptor() = default;
  // A new SYN is held. The acceptor sets a handler, or refuses the flow at once. Returning without
  // either drops the SYN (the application's kernel repeats it: natural back pressure).
  virtual void on_syn(TcpFlow& flow) noexcept = 0;
};

}  // namespace proxyvpn::stack
