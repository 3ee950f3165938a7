#include "connect/flow_book.h"

#include <algorithm>
#include <span>

namespace proxyvpn::connect {

FlowBook::Address FlowBook::encode(const Endpoint& endpoint) noexcept {
  Address address{};
  const auto bytes = endpoint.address.bytes();
  std::copy_n(bytes.begin(), std::min(bytes.size(), address.bytes.size()), address.bytes.begin());
  address.port = endpoint.port;
  address.is_v6 = endpoint.address.is_v6() ? 1 : 0;
  return address;
}

Endpoint FlowBook::decode(const Address& address) noexcept {
  const std::span<const std::uint8_t, 16> all(address.bytes);
  const auto ip = address.is_v6 != 0 ? IpAddress::v6(all) : IpAddress::v4(all.first<4>());
  return {ip, address.port};
}

void FlowBook::add(std::size_t slot, const stack::FlowKey& key) noexcept {
  if (slot < kMost) notes_[slot] = {encode(key.source), encode(key.destination), 0};
  count_.store(static_cast<std::uint32_t>(slot + 1), std::memory_order_release);
}

void FlowBook::opened(std::size_t slot) noexcept {
  if (slot < kMost) notes_[slot].is_open = 1;
}

void FlowBook::remove(std::size_t slot, std::size_t count) noexcept {
  if (count == 0) return;
  if (slot < kMost && count <= kMost) notes_[slot] = notes_[count - 1];
  // The last one was not noted: nobody knows any more what stands here.
  if (slot < kMost && count > kMost) notes_[slot].is_open = 0;
  count_.store(static_cast<std::uint32_t>(count - 1), std::memory_order_release);
}

std::vector<stack::FlowKey> FlowBook::open_flows() const {
  const std::size_t count =
      std::min<std::size_t>(count_.load(std::memory_order_acquire), notes_.size());
  std::vector<stack::FlowKey> flows;
  for (std::size_t i = 0; i < count; ++i) {
    const Note& note = notes_[i];
    if (note.is_open != 0) flows.push_back({decode(note.source), decode(note.destination)});
  }
  return flows;
}

}  // namespace proxyvpn::connect
