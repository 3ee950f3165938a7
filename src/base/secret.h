#pragma once
// A password or a credential: never printed by accident, wiped when it goes.
#include <string>
#include <string_view>

namespace proxyvpn {

class Secret {
 public:
  Secret() = default;
  // Copies; the caller wipes the source (see wipe()).
  explicit Secret(std::string_view text) : text_(text) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept;
  Secret& operator=(const Secret& other);
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();

  // The text itself. Only the code that puts it on the wire to the proxy calls this.
  [[nodiscard]] std::string_view reveal() const noexcept { return text_; }
  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
  friend bool operator==(const Secret&, const Secret&) = default;

 private:
  std::string text_;
};

// Overwrites the bytes with zeros in a way that the compiler keeps (explicit_bzero(3)).
void wipe(std::string& text) noexcept;
void wipe(char* text, std::size_t length) noexcept;

}  // namespace proxyvpn
