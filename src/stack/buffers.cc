#include "stack/buffers.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace proxyvpn::stack {
namespace {

// lwIP's callback has no argument but the pbuf; there is one stack per process (lwIP's own
// globals).
FramePool* the_pool = nullptr;

void free_frame(pbuf* p) noexcept {
  // pbuf is the first member of pbuf_custom, which is the first of FrameBuffer.
  the_pool->give(reinterpret_cast<FrameBuffer*>(p));
}

// Buffers are mapped each by itself and go back to the system when they are freed. Else malloc(3)
// would move the end of its heap up and down with the load, and the kernel would clear the same
// pages again and again.
void map_buffers() noexcept { ::mallopt(M_MMAP_THRESHOLD, sizeof(FrameBuffer)); }

}  // namespace

FreeList::FreeList(std::size_t most) { free_.reserve(most); }

FreeList::~FreeList() {
  for (auto* buffer : free_) std::free(buffer);
}

void* FreeList::take() noexcept {
  if (free_.empty()) return nullptr;
  void* buffer = free_.back();
  free_.pop_back();
  least_ = std::min(least_, free_.size());
  return buffer;
}

void FreeList::give(void* buffer) noexcept {
  if (free_.size() < free_.capacity()) {
    free_.push_back(buffer);
  } else {
    std::free(buffer);
  }
}

void FreeList::trim() noexcept {
  // Those at the front have waited longest.
  const auto end = free_.begin() + static_cast<std::ptrdiff_t>(least_);
  std::for_each(free_.begin(), end, [](void* buffer) { std::free(buffer); });
  free_.erase(free_.begin(), end);
  least_ = free_.size();
}

FramePool::FramePool() {
  map_buffers();
  the_pool = this;
}

FramePool::~FramePool() { the_pool = nullptr; }

FrameBuffer* FramePool::take() noexcept {
  void* frame = free_.take();
  if (frame == nullptr) frame = std::malloc(sizeof(FrameBuffer));
  if (frame != nullptr) ++out_;
  return static_cast<FrameBuffer*>(frame);
}

void FramePool::give(FrameBuffer* frame) noexcept {
  --out_;
  free_.give(frame);
}

pbuf* FramePool::wrap(FrameBuffer* frame, std::size_t offset, std::size_t length) noexcept {
  frame->custom.custom_free_function = free_frame;
  return pbuf_alloced_custom(PBUF_RAW, static_cast<u16_t>(length), PBUF_REF, &frame->custom,
                             frame->bytes + offset, static_cast<u16_t>(length));
}

Chunk* ChunkPool::take(std::size_t want) noexcept {
  const std::uint32_t size = want <= kSmall ? kSmall : kLarge;
  void* memory = list_of(size).take();
  if (memory == nullptr) memory = std::malloc(sizeof(Chunk) + size);
  if (memory == nullptr) return nullptr;
  bytes_out_ += size;
  auto* chunk = new (memory) Chunk;
  chunk->size = size;
  return chunk;
}

void ChunkPool::give(Chunk* chunk) noexcept {
  bytes_out_ -= chunk->size;
  list_of(chunk->size).give(chunk);
}

}  // namespace proxyvpn::stack
