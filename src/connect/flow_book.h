#pragma once
// The connections of one worker, noted in memory that it shares with the supervisor and that
// outlives it: when the worker has died, the applications' sockets can be ended at once. One that
// only reads would never find out by itself.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "stack/tcp_flow.h"

namespace proxyvpn::connect {

// Lives in zeroed shared memory (mmap(2)), made there with `new (place) FlowBook`, which touches no
// page but the first. The worker is the only writer and may be killed in the middle of a note; who
// reads must take every note for a guess, as a worker that was taken over may write anything.
class FlowBook {
 public:
  // Connections beyond are not noted: they end at their next packet, as all did without a book.
  static constexpr std::size_t kMost = 1 << 16;

  // The worker's side. Notes are dense: as many as there are tunnels, in the order of their slots.
  void add(std::size_t slot, const stack::FlowKey& key) noexcept;
  void opened(std::size_t slot) noexcept;  // established; before, the SYN is simply sent again
  // The last note takes the place of `slot`.
  void remove(std::size_t slot, std::size_t count) noexcept;

  // The supervisor's side, when the worker is gone: the established ones.
  [[nodiscard]] std::vector<stack::FlowKey> open_flows() const;

 private:
  struct Address {
    std::array<std::uint8_t, 16> bytes;  // IPv4: the first four
    std::uint16_t port;
    std::uint8_t is_v6;
  };
  struct Note {
    Address source;
    Address destination;
    std::uint8_t is_open;
  };
  static Address encode(const Endpoint& endpoint) noexcept;
  static Endpoint decode(const Address& address) noexcept;

  std::atomic<std::uint32_t> count_;  // may be more than kMost
  std::array<Note, kMost> notes_;
};

}  // namespace proxyvpn::connect
