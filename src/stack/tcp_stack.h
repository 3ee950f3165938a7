#pragma once
// The userspace TCP stack behind the TUN: accepts TCP to any address and port.
#include <cstdint>

#include "event/timer_queue.h"
#include "stack/tcp_flow.h"
#include "tun/packet_io.h"

namespace proxyvpn::stack {

struct StackLimits {
  std::uint64_t memory_budget = 256ull << 20;  // bytes that windows may grow by, over all flows
  std::uint32_t base_window = 65535;           // receive window of a new flow
  std::uint32_t crowded_window = 16384;        // the same when there are more than `crowd` flows
  std::size_t crowd = 2048;
  std::uint32_t largest_window = 512 << 10;  // a flow's window grows up to this with use
  std::uint32_t shared_window = 1 << 20;     // grown windows of flows that upload at once, together
};

struct StackCounters {
  std::uint64_t packets_in = 0;
  std::uint64_t packets_out = 0;
  std::uint64_t packets_bad = 0;       // malformed, fragments, wrong checksums: dropped
  std::uint64_t packets_other = 0;     // not TCP
  std::uint64_t syns_held = 0;         // repeated SYNs that were swallowed
  std::uint64_t segments_outside = 0;  // dropped by the window filter
  std::uint64_t no_memory = 0;
};

class TcpStack {
 public:
  virtual ~TcpStack() = default;
  // Reads what waits at the PacketIo, at most a batch, and feeds it to the stack, then flush()es.
  // True when there may be more.
  virtual bool drain() noexcept = 0;
  // Tells handlers what happened, then acknowledges what came. Call after everything else that may
  // have touched flows in a turn.
  virtual void flush() noexcept = 0;
  // Gives memory back that was not needed since the last call. Once a second or so.
  virtual void trim() noexcept = 0;
  // Resets every flow (RST to the applications) without telling handlers.
  virtual void abort_all() noexcept = 0;
  [[nodiscard]] virtual std::size_t flows() const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t buffered_bytes() const noexcept = 0;
  [[nodiscard]] virtual const StackCounters& counters() const noexcept = 0;
};

}  // namespace proxyvpn::stack
