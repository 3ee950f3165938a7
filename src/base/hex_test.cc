#include "base/hex.h"

#include <gtest/gtest.h>

#include <array>

namespace proxyvpn {
namespace {

TEST(Hex, ANumberHasAtLeastAsManyDigitsAsAskedFor) {
  EXPECT_EQ("0x0", hex(0));
  EXPECT_EQ("0x1f", hex(0x1f));
  EXPECT_EQ("0x0806", hex(0x806, 4));
  EXPECT_EQ("0x0000001f", hex(0x1f, 8));
  EXPECT_EQ("0xffffffff", hex(0xffffffff, 4));
}

TEST(Hex, AByteHasTwoDigits) {
  const std::array<std::uint8_t, 4> bytes{0x00, 0x0f, 0xa0, 0xff};
  EXPECT_EQ("000fa0ff", hex(bytes));
  EXPECT_EQ("", hex(std::span<const std::uint8_t>()));
  std::string text = "x";
  append_hex(text, 0x1e);
  EXPECT_EQ("x1e", text);
}

}  // namespace
}  // namespace proxyvpn
