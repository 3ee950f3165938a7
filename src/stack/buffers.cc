#include "stack/buffers.h"

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

}  // namespace

FramePool::FramePool() {
  free_.reserve(kKept);
  the_pool = this;
}

FramePool::~FramePool() {
  for (auto* frame : free_) std::free(frame);
  the_pool = nullptr;
}

FrameBuffer* FramePool::take() noexcept {
  FrameBuffer* frame = nullptr;
  if (!free_.empty()) {
    frame = free_.back();
    free_.pop_back();
  } else {
    frame = static_cast<FrameBuffer*>(std::malloc(sizeof(FrameBuffer)));
  }
  if (frame != nullptr) ++out_;
  return frame;
}

void FramePool::give(FrameBuffer* frame) noexcept {
  --out_;
  if (free_.size() < kKept) {
    free_.push_back(frame);
  } else {
    std::free(frame);
  }
}

pbuf* FramePool::wrap(FrameBuffer* frame, std::size_t offset, std::size_t length) noexcept {
  frame->custom.custom_free_function = free_frame;
  return pbuf_alloced_custom(PBUF_RAW, static_cast<u16_t>(length), PBUF_REF, &frame->custom,
                             frame->bytes + offset, static_cast<u16_t>(length));
}

ChunkPool::ChunkPool() {
  small_.reserve(kKeptBytes / (kSmall + sizeof(Chunk)));
  large_.reserve(kKeptBytes / (kLarge + sizeof(Chunk)));
}

ChunkPool::~ChunkPool() {
  for (auto* chunk : small_) std::free(chunk);
  for (auto* chunk : large_) std::free(chunk);
}

Chunk* ChunkPool::take(std::size_t want) noexcept {
  const std::uint32_t size = want <= kSmall ? kSmall : kLarge;
  auto& list = list_of(size);
  void* memory = nullptr;
  if (!list.empty()) {
    memory = list.back();
    list.pop_back();
  } else {
    memory = std::malloc(sizeof(Chunk) + size);
  }
  if (memory == nullptr) return nullptr;
  bytes_out_ += size;
  auto* chunk = new (memory) Chunk;
  chunk->size = size;
  return chunk;
}

void ChunkPool::give(Chunk* chunk) noexcept {
  bytes_out_ -= chunk->size;
  auto& list = list_of(chunk->size);
  if (list.size() < list.capacity()) {
    list.push_back(chunk);
  } else {
    std::free(chunk);
  }
}

}  // namespace proxyvpn::stack
