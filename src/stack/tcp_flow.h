#pragma once
// One captured TCP connection as the rooms behind the stack see it: its two ends, a stream of bytes
// from the application, a stream of bytes to it, and two decisions (accept, refuse).
//
// Everything happens on the reactor's thread. Callbacks come from inside TcpStack::input() and
// TcpStack::tick(); a handler may call any TcpFlow function from inside a callback, also abort().
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
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

// A piece of memory that goes to the application by reference. Freed with the last reference.
// Bytes must not change while the stack holds them (until they are acknowledged).
class Chunk;
struct ChunkDeleter {
  void operator()(Chunk* chunk) const noexcept;
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

class TcpFlow {
 public:
  virtual ~TcpFlow() = default;  // destroying a live flow sends an RST to the application
  [[nodiscard]] virtual const FlowKey& key() const noexcept = 0;
  virtual void set_handler(FlowHandler* handler) noexcept = 0;  // not owned; must outlive the flow

  // Exactly one of these two answers the held SYN.
  virtual void accept() noexcept = 0;
  virtual void refuse(Refusal how) noexcept = 0;  // the flow is dead afterwards

  // Bytes from the application, in order, by reference: fills up to pieces.size() iovecs.
  // Answers how many were filled. Valid until consume().
  virtual std::size_t readable(std::span<iovec> pieces) const noexcept = 0;
  [[nodiscard]] virtual std::size_t readable_bytes() const noexcept = 0;
  // The first n readable bytes are done with: memory goes back, the window opens.
  virtual void consume(std::size_t n) noexcept = 0;
  // The application has sent its FIN and everything before it has been consumed.
  [[nodiscard]] virtual bool read_eof() const noexcept = 0;

  // How many bytes write() would take now.
  [[nodiscard]] virtual std::size_t send_room() const noexcept = 0;
  // Queues bytes to the application without copying them; holds a reference to `owner`.
  // False: no memory now, nothing was taken, try again at the next on_writable().
  virtual bool write(const std::uint8_t* bytes, std::size_t n, Chunk& owner) noexcept = 0;
  // FIN behind everything written. The reading half stays open.
  virtual void finish() noexcept = 0;
  // RST to the application, now. The flow is dead afterwards.
  virtual void abort() noexcept = 0;
};

}  // namespace proxyvpn::stack
