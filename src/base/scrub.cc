#include "base/scrub.h"

#include <cstdlib>
#include <new>

#include "base/sanitizers.h"

#ifdef PROXYVPN_ADDRESS_SANITIZER

// It has an operator delete of its own, which fills what it keeps in quarantine when told so.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the name is the sanitizer's
extern "C" const char* __asan_default_options() {
  return "max_free_fill_size=4096:free_fill_byte=0";
}

namespace proxyvpn {
void scrub_freed_memory(bool /*on*/) noexcept {}
}  // namespace proxyvpn

#else

namespace proxyvpn {
namespace {
bool scrubs = true;
}  // namespace

void scrub_freed_memory(bool on) noexcept { scrubs = on; }
}  // namespace proxyvpn

// Every other form of delete but the aligned ones ends here, as the library defines them.
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  if (proxyvpn::scrubs && memory != nullptr) proxyvpn::overwrite_allocation(memory);
  std::free(memory);
}

void operator delete(void* memory, std::size_t /*size*/) noexcept { ::operator delete(memory); }

#endif
