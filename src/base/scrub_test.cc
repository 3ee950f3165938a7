#include "base/scrub.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

namespace proxyvpn {
namespace {

// A compiler that sees both ends of memory that nobody looks at leaves it out.
void look_at(const void* memory) { __asm__ volatile("" : : "r"(memory) : "memory"); }

// Where an optimising compiler knows how much was asked for. To be of use this is built hardened,
// too.
TEST(Scrub, OverwritesMoreThanWasAskedFor) {
  auto* bytes = static_cast<char*>(std::malloc(5));
  ASSERT_NE(bytes, nullptr);
  std::memset(bytes, 'x', 5);
  look_at(bytes);
  overwrite_allocation(bytes);
  look_at(bytes);
  for (int i = 0; i < 5; i++) EXPECT_EQ(bytes[i], 0) << i;
  std::free(bytes);
}

TEST(Scrub, DeletesWhatIsNotThere) {
  scrub_freed_memory(true);
  ::operator delete(nullptr);
  SUCCEED();
}

}  // namespace
}  // namespace proxyvpn
