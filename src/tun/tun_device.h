#pragma once
// The TUN device (Documentation/networking/tuntap.rst). It is not persistent: it vanishes with its
// last descriptor.
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "tun/packet_io.h"

namespace proxyvpn::tun {

struct TunQueues {
  std::vector<UniqueFd> queues;  // one per worker, non-blocking, close-on-exec
  Offloads offloads;
};

// Creates the device with `queues` queues (IFF_MULTI_QUEUE when more than one), IFF_NO_PI and
// IFF_VNET_HDR, and turns on checksum and segmentation offload as far as the kernel goes along
// (`offload` false: neither, and no virtio header). The link is down and has no address yet.
// Needs CAP_NET_ADMIN and an accessible /dev/net/tun. Errors: Exists when the name belongs to
// another device, Permission and NotFound for /dev/net/tun with what to do about it.
Result<TunQueues> create_tun(const std::string& name, unsigned queues, bool offload);

// PacketIo over one queue. Owns the descriptor.
class TunDevice final : public PacketIo {
 public:
  TunDevice(UniqueFd fd, Offloads offloads) : fd_(std::move(fd)), offloads_(offloads) {}
  [[nodiscard]] Offloads offloads() const noexcept override { return offloads_; }
  [[nodiscard]] int fd() const noexcept override { return fd_.get(); }
  IoStatus read(std::span<std::uint8_t> buffer, std::size_t* length) noexcept override;
  IoStatus write(std::span<const iovec> pieces) noexcept override;

 private:
  UniqueFd fd_;
  Offloads offloads_;
};

}  // namespace proxyvpn::tun
