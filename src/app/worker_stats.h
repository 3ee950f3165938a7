#pragma once
// Counters of one worker in a page that it shares with the supervisor (memfd, MAP_SHARED). The
// worker is the only writer; the supervisor reads without a message, also after the worker died.
#include <atomic>
#include <cstdint>

namespace proxyvpn::app {

struct WorkerStats {
  std::atomic<std::uint64_t> flows_open;
  std::atomic<std::uint64_t> flows_total;
  std::atomic<std::uint64_t> refused_by_proxy;    // final status that is not 2xx
  std::atomic<std::uint64_t> refused_proxy_lost;  // as the proxy was lost or just then went
  std::atomic<std::uint64_t> refused_limit;  // SYNs dropped at a limit (sockets, memory, pending)
  std::atomic<std::uint64_t> timeouts;
  std::atomic<std::uint64_t> resets;
  std::atomic<std::uint64_t> bytes_up;
  std::atomic<std::uint64_t> bytes_down;
  std::atomic<std::uint64_t> packets_in;
  std::atomic<std::uint64_t> packets_out;
  std::atomic<std::uint64_t> packets_bad;   // malformed, dropped
  std::atomic<std::uint64_t> buffer_bytes;  // held for flows now
  std::atomic<std::uint64_t> retry_at;  // of a lost proxy, nanoseconds of Clock; 0: it is not lost
  std::atomic<std::uint64_t> turns;     // of the event loop
  // std::hash of the proxy's address that was connected to last, 0 for none: one word cannot be
  // read half written, and the supervisor knows the addresses that it may stand for.
  std::atomic<std::uint64_t> proxy_in_use;
};

}  // namespace proxyvpn::app
