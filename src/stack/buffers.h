#pragma once
// Memory that bytes live in while they cross: frames that came from the TUN, chunks that came from
// the proxy's socket. Freed ones are kept for the next use, last in first out (they are still in
// the cache), up to a limit; trim() gives back to the system what was not needed lately.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "stack/lwip_glue.h"
#include "tun/packet_io.h"

namespace proxyvpn::stack {

// Free buffers, last in first out. Does not own what it hands out.
class FreeList {
 public:
  explicit FreeList(std::size_t most);
  ~FreeList();
  FreeList(const FreeList&) = delete;
  FreeList& operator=(const FreeList&) = delete;
  // Null: there is none.
  void* take() noexcept;
  // Beyond the limit it is freed.
  void give(void* buffer) noexcept;
  // Frees those that were free all the time since the last call.
  void trim() noexcept;

 private:
  std::vector<void*> free_;  // never grows beyond what was reserved
  std::size_t least_ = 0;    // the fewest since the last trim()
};

// One frame as read from the TUN; hands itself to lwIP as a custom pbuf and comes back when lwIP
// and the flow's queue have let go of it.
struct FrameBuffer {
  pbuf_custom custom;  // must be first: lwIP gives back a pointer to it
  std::uint8_t bytes[tun::kVnetHeader + tun::kLargestFrame];
};

class FramePool {
 public:
  FramePool();
  ~FramePool();
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;
  // Null: no memory.
  FrameBuffer* take() noexcept;
  void give(FrameBuffer* frame) noexcept;
  // A pbuf over bytes [offset, offset+length) of the frame; owns the frame from now on.
  pbuf* wrap(FrameBuffer* frame, std::size_t offset, std::size_t length) noexcept;
  // Frames that are not in the pool now.
  [[nodiscard]] std::size_t out() const noexcept { return out_; }
  void trim() noexcept { free_.trim(); }

 private:
  static constexpr std::size_t kKept = 256;  // about 16 MiB
  FreeList free_{kKept};
  std::size_t out_ = 0;
};

// Bytes towards an application. One flow's, filled once, sent by reference, freed when
// acknowledged.
struct Chunk {
  Chunk* next = nullptr;
  std::uint32_t size = 0;     // bytes of data()
  std::uint32_t filled = 0;   // bytes that the flow committed
  std::uint32_t written = 0;  // of these: handed to lwIP
  std::uint32_t acked = 0;    // of these: acknowledged by the application's side
  std::uint8_t* data() noexcept { return reinterpret_cast<std::uint8_t*>(this + 1); }
};

class ChunkPool {
 public:
  ChunkPool() = default;
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;
  // At least kSmall bytes, kLarge when `want` is more than that. Null: no memory.
  Chunk* take(std::size_t want) noexcept;
  void give(Chunk* chunk) noexcept;
  [[nodiscard]] std::uint64_t bytes_out() const noexcept { return bytes_out_; }
  void trim() noexcept {
    small_.trim();
    large_.trim();
  }

  static constexpr std::uint32_t kSmall = std::size_t{8} * 1024 - sizeof(Chunk);
  static constexpr std::uint32_t kLarge = std::size_t{128} * 1024 - sizeof(Chunk);

 private:
  static constexpr std::size_t kKeptBytes = 16 << 20;
  FreeList& list_of(std::uint32_t size) noexcept { return size == kSmall ? small_ : large_; }
  FreeList small_{kKeptBytes / 4 / (kSmall + sizeof(Chunk))};
  FreeList large_{kKeptBytes / (kLarge + sizeof(Chunk))};
  std::uint64_t bytes_out_ = 0;
};

}  // namespace proxyvpn::stack
