#pragma once
// A keyed hash table of flows: O(1) per packet at any number of flows. Open addressing with linear
// probing; erasing moves entries back, so there are no tombstones. The hash is keyed with a secret,
// so that nobody who picks ports and addresses can build collisions.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "stack/tcp_flow.h"

namespace proxyvpn::stack {

class LwipFlow;

struct HashSeed {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
};

// Mixes both endpoints with the seed.
std::uint64_t hash_key(const FlowKey& key, const HashSeed& seed) noexcept;

class FlowTable {
 public:
  explicit FlowTable(HashSeed seed) : seed_(seed), slots_(kSmallest) {}

  [[nodiscard]] LwipFlow* find(const FlowKey& key) const noexcept;
  // The key must not be there yet. Not owned. False: no memory to grow.
  bool insert(LwipFlow& flow) noexcept;
  void erase(const LwipFlow& flow) noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  // Calls f(LwipFlow&) for each flow; the table must not change meanwhile.
  template <class F>
  void for_each(F&& f) const {
    for (const auto& slot : slots_) {
      if (slot.flow != nullptr) f(*slot.flow);
    }
  }

 private:
  static constexpr std::size_t kSmallest = 64;
  struct Slot {
    LwipFlow* flow = nullptr;
    std::uint64_t hash = 0;
  };
  [[nodiscard]] std::size_t home(std::uint64_t hash) const noexcept {
    return hash & (slots_.size() - 1);
  }
  [[nodiscard]] std::size_t next(std::size_t i) const noexcept {
    return (i + 1) & (slots_.size() - 1);
  }
  void put(Slot slot) noexcept;
  bool resize(std::size_t slots) noexcept;

  HashSeed seed_;
  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace proxyvpn::stack
