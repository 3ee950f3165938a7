#include "base/secret.h"

#include <strings.h>

#include <cstring>
#include <utility>

namespace proxyvpn {

void wipe(char* text, std::size_t length) noexcept { ::explicit_bzero(text, length); }

void wipe(std::string& text) noexcept {
  // The whole allocation, not only the part in use: a longer value may have been there before.
  text.resize(text.capacity());
  wipe(text.data(), text.size());
  text.clear();
}

// A copy, so that the other's bytes can be overwritten: a short text lies within the object.
// NOLINTNEXTLINE(performance-move-constructor-init)
Secret::Secret(Secret&& other) noexcept : text_(other.text_) { wipe(other.text_); }

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) {
    wipe(text_);
    text_ = other.text_;
  }
  return *this;
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe(text_);
    text_ = other.text_;
    wipe(other.text_);
  }
  return *this;
}

Secret::~Secret() { wipe(text_); }

}  // namespace proxyvpn
