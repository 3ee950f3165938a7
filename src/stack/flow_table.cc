#include "stack/flow_table.h"

#include <cstring>
#include <new>
#include <utility>

#include "stack/lwip_flow.h"

namespace proxyvpn::stack {
namespace {

// Folded 64x64 -> 128 bit multiplication: every input bit reaches every output bit.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t load(const std::uint8_t* p) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, p, sizeof word);
  return word;
}

std::uint64_t mix(std::uint64_t state, const IpAddress& address) noexcept {
  const auto bytes = address.bytes();
  if (address.is_v4()) return fold(state ^ address.v4_host_order(), 0x9e3779b97f4a7c15ULL);
  state = fold(state ^ load(bytes.data()), 0x9e3779b97f4a7c15ULL);
  return fold(state ^ load(bytes.data() + 8), 0xc2b2ae3d27d4eb4fULL);
}

}  // namespace

std::uint64_t hash_key(const FlowKey& key, const HashSeed& seed) noexcept {
  const std::uint64_t ports = (std::uint64_t{key.source.port} << 16) | key.destination.port;
  std::uint64_t state = fold(seed.first ^ ports, seed.second | 1);
  state = mix(state, key.source.address);
  state = mix(state ^ seed.first, key.destination.address);
  return fold(state ^ seed.second, 0x165667b19e3779f9ULL);
}

LwipFlow* FlowTable::find(const FlowKey& key) const noexcept {
  const std::uint64_t hash = hash_key(key, seed_);
  for (std::size_t i = home(hash); slots_[i].flow != nullptr; i = next(i)) {
    if (slots_[i].hash == hash && slots_[i].flow->key() == key) return slots_[i].flow;
  }
  return nullptr;
}

bool FlowTable::insert(LwipFlow& flow) noexcept {
  // At most half full: probes stay short, and a failed growth still leaves room.
  if (2 * (size_ + 1) > slots_.size() && !resize(slots_.size() * 2) && size_ + 1 >= slots_.size()) {
    return false;
  }
  put({&flow, hash_key(flow.key(), seed_)});
  ++size_;
  return true;
}

void FlowTable::erase(const LwipFlow& flow) noexcept {
  std::size_t hole = home(hash_key(flow.key(), seed_));
  while (slots_[hole].flow != &flow) {
    if (slots_[hole].flow == nullptr) return;
    hole = next(hole);
  }
  --size_;
  for (std::size_t i = next(hole); slots_[i].flow != nullptr; i = next(i)) {
    // An entry may move into the hole when its home is not between the hole and itself.
    const std::size_t distance_from_home = (i - home(slots_[i].hash)) & (slots_.size() - 1);
    const std::size_t distance_from_hole = (i - hole) & (slots_.size() - 1);
    if (distance_from_home >= distance_from_hole) {
      slots_[hole] = slots_[i];
      hole = i;
    }
  }
  slots_[hole] = {};
  if (slots_.size() > kSmallest && 8 * size_ < slots_.size()) resize(slots_.size() / 2);
}

void FlowTable::put(Slot slot) noexcept {
  std::size_t i = home(slot.hash);
  while (slots_[i].flow != nullptr) i = next(i);
  slots_[i] = slot;
}

bool FlowTable::resize(std::size_t slots) noexcept {
  std::vector<Slot> old;
  try {
    old.resize(slots);
  } catch (const std::bad_alloc&) {
    return false;
  }
  old.swap(slots_);
  for (const auto& slot : old) {
    if (slot.flow != nullptr) put(slot);
  }
  return true;
}

}  // namespace proxyvpn::stack
