#pragma once
// Numbers and bytes in hexadecimal digits.
#include <cstdint>
#include <span>
#include <string>

namespace proxyvpn {

// "0x1f"; with eight `digits` at least "0x0000001f".
std::string hex(std::uint32_t number, int digits = 1);

// "1f"
void append_hex(std::string& text, std::uint8_t byte);
// "001f2e"
std::string hex(std::span<const std::uint8_t> bytes);

}  // namespace proxyvpn
