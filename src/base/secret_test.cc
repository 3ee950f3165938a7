#include "base/secret.h"

#include <gtest/gtest.h>

namespace proxyvpn {
namespace {

TEST(Secret, MoveLeavesNothingBehind) {
  Secret first("correct horse");
  const Secret second(std::move(first));
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): that is the promise
  EXPECT_EQ(second.reveal(), "correct horse");
}

TEST(Secret, WipeOverwritesTheWholeAllocation) {
  std::string text(64, 'x');
  const char* bytes = text.data();
  text.resize(8);
  wipe(text);
  EXPECT_TRUE(text.empty());
  // The buffer still belongs to the (empty) string, so that looking at it is defined up to
  // capacity.
  text.resize(64);
  EXPECT_EQ(text.data(), bytes);
  for (const char c : text) EXPECT_EQ(c, '\0');
}

}  // namespace
}  // namespace proxyvpn
