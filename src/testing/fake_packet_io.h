#pragma once
// A PacketIo without a device: tests push packets in and look at what comes out.
#include <algorithm>
#include <deque>
#include <vector>

#include "tun/packet_io.h"

namespace proxyvpn::testing {

class FakePacketIo final : public tun::PacketIo {
 public:
  explicit FakePacketIo(tun::Offloads offloads) : offloads_(offloads) {}

  [[nodiscard]] tun::Offloads offloads() const noexcept override { return offloads_; }
  [[nodiscard]] int fd() const noexcept override { return -1; }

  tun::IoStatus read(std::span<std::uint8_t> buffer, std::size_t* length) noexcept override {
    if (incoming.empty()) return tun::IoStatus::WouldBlock;
    const auto frame = std::move(incoming.front());
    incoming.pop_front();
    *length = std::min(buffer.size(), frame.size());
    std::copy_n(frame.begin(), *length, buffer.begin());
    return tun::IoStatus::Ok;
  }

  tun::IoStatus write(std::span<const iovec> pieces) noexcept override {
    if (full) return tun::IoStatus::WouldBlock;
    std::vector<std::uint8_t> frame;
    for (const auto& piece : pieces) {
      const auto* from = static_cast<const std::uint8_t*>(piece.iov_base);
      frame.insert(frame.end(), from, from + piece.iov_len);
    }
    outgoing.push_back(std::move(frame));
    return tun::IoStatus::Ok;
  }

  // Queues a packet as this machine's kernel would: with a virtio header when there is one.
  void push(std::vector<std::uint8_t> packet,
            tun::VnetHeader header = {tun::kNeedsChecksum, 0, 0, 0, 0, 0}) {
    if (offloads_.vnet_header) {
      const auto* raw = reinterpret_cast<const std::uint8_t*>(&header);
      packet.insert(packet.begin(), raw, raw + sizeof header);
    }
    incoming.push_back(std::move(packet));
  }

  std::deque<std::vector<std::uint8_t>> incoming;
  std::deque<std::vector<std::uint8_t>> outgoing;
  bool full = false;

 private:
  tun::Offloads offloads_;
};

}  // namespace proxyvpn::testing
