#include "stack/upload_share.h"

#include <gtest/gtest.h>

#include <array>

namespace proxyvpn::stack {
namespace {

constexpr std::uint32_t kBytes = 1 << 20;

TEST(UploadShare, IsWholeForOneAndDividedByMore) {
  UploadShare share(kBytes);
  std::array<UploadShare::Member, 4> members;
  const TimePoint now{seconds(1)};
  EXPECT_EQ(share.each(), kBytes) << "nobody uploads";
  for (auto& member : members) share.count(member, UploadShare::kCounts, now);
  EXPECT_EQ(share.each(), kBytes / 4);
}

TEST(UploadShare, ARequestIsNoUpload) {
  UploadShare share(kBytes);
  UploadShare::Member upload;
  UploadShare::Member request;
  const TimePoint now{seconds(1)};
  share.count(upload, 1 << 20, now);
  share.count(request, UploadShare::kCounts - 1, now);
  EXPECT_EQ(share.each(), kBytes);
  share.count(request, 1, now);
  EXPECT_EQ(share.each(), kBytes / 2);
  share.count(request, 1 << 20, now);
  EXPECT_EQ(share.each(), kBytes / 2) << "each counts once";
}

TEST(UploadShare, RemembersOnePeriodAndNoMore) {
  UploadShare share(kBytes);
  std::array<UploadShare::Member, 3> members;
  TimePoint now{seconds(1)};
  for (auto& member : members) share.count(member, UploadShare::kCounts, now);
  now += UploadShare::kPeriod;
  share.count(members[0], UploadShare::kCounts, now);
  EXPECT_EQ(share.each(), kBytes / 3) << "a new period has only begun";
  now += UploadShare::kPeriod;
  share.count(members[0], UploadShare::kCounts, now);
  EXPECT_EQ(share.each(), kBytes) << "the others have stopped";
  for (auto& member : members) share.count(member, UploadShare::kCounts, now);
  EXPECT_EQ(share.each(), kBytes / 3);
  now += 10 * UploadShare::kPeriod;
  share.count(members[0], 1, now);
  EXPECT_EQ(share.each(), kBytes) << "a pause forgets all";
}

}  // namespace
}  // namespace proxyvpn::stack
