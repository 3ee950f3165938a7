#pragma once
// Where IP packets come from and go to: the TUN device, or a test's double.
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace proxyvpn::tun {

enum class IoStatus : std::uint8_t { Ok, WouldBlock, Eof, Failed };

// The virtio-net header before every frame (virtio specification 5.1.6; host byte order on a TUN).
// <linux/virtio_net.h> itself cannot be included from C++ (a field is named `class`).
struct VnetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t header_length = 0;    // of IP and TCP headers, with GSO
  std::uint16_t gso_size = 0;         // payload bytes per segment, with GSO
  std::uint16_t checksum_start = 0;   // with kNeedsChecksum: where summing starts
  std::uint16_t checksum_offset = 0;  // and where the sum goes, from there
};
inline constexpr std::uint8_t kNeedsChecksum = 1;  // VIRTIO_NET_HDR_F_NEEDS_CSUM
inline constexpr std::uint8_t kDataValid = 2;      // VIRTIO_NET_HDR_F_DATA_VALID
inline constexpr std::uint8_t kGsoNone = 0;
inline constexpr std::uint8_t kGsoTcpV4 = 1;
inline constexpr std::uint8_t kGsoTcpV6 = 4;

inline constexpr std::size_t kVnetHeader = sizeof(VnetHeader);
static_assert(kVnetHeader == 10);
inline constexpr std::size_t kLargestFrame = 65535 + 40;  // an IPv6 payload of 65535 and its header

// What the other side can do; decides how the stack builds frames.
struct Offloads {
  bool vnet_header = false;   // every frame carries a virtio_net_hdr (tun.rst, IFF_VNET_HDR)
  bool checksum = false;      // partial checksums are welcome both ways (TUN_F_CSUM)
  bool segmentation = false;  // frames beyond the MTU, cut by gso_size (TUN_F_TSO4, TUN_F_TSO6)
};

class PacketIo {
 public:
  virtual ~PacketIo() = default;
  [[nodiscard]] virtual Offloads offloads() const noexcept = 0;
  // Readable when a frame waits.
  [[nodiscard]] virtual int fd() const noexcept = 0;
  // One frame into `buffer` (kVnetHeader + kLargestFrame bytes when vnet_header, else without).
  // Ok: `*length` bytes were written, the header included.
  virtual IoStatus read(std::span<std::uint8_t> buffer, std::size_t* length) noexcept = 0;
  // One frame, gathered; the first piece begins with the virtio_net_hdr when vnet_header is on.
  // WouldBlock: the queue is full, the frame was not taken.
  virtual IoStatus write(std::span<const iovec> pieces) noexcept = 0;
};

// Told of the packets that are not TCP.
class OtherPackets {
 public:
  virtual ~OtherPackets() = default;
  // From the IP header on; valid during the call. `checked`: the kernel vouches for the checksum
  // (kNeedsChecksum, kDataValid). No function may throw.
  virtual void on_packet(std::span<const std::uint8_t> packet, bool checked) noexcept = 0;
};

}  // namespace proxyvpn::tun
