#include "app/proxy_health.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "app/restart_policy.h"

namespace proxyvpn::app {
namespace {

constexpr TimePoint kStart{};

ProxyLost refused() { return {Trouble::Unreachable, 0, ECONNREFUSED}; }

TEST(ProxyHealth, TellsALossOnceAndTheReturnOnce) {
  ProxyHealth health("192.0.2.10:8080", true, true);
  EXPECT_FALSE(health.is_lost());
  EXPECT_EQ(
      "proxy lost: 192.0.2.10:8080 refuses connections; the machine stays shut, new connections "
      "fail at once; retrying",
      health.lost(0, refused(), kStart));
  EXPECT_EQ(std::nullopt, health.lost(0, refused(), kStart + seconds(1)));
  EXPECT_EQ(std::nullopt, health.lost(1, refused(), kStart + seconds(2)));
  EXPECT_TRUE(health.is_lost());
  EXPECT_EQ(std::nullopt, health.back(0, kStart + seconds(11)));
  EXPECT_EQ("proxy back: 192.0.2.10:8080 answers again after 12 s",
            health.back(1, kStart + seconds(12)));
  EXPECT_FALSE(health.is_lost());
  EXPECT_EQ(std::nullopt, health.back(1, kStart + seconds(13)));
}

TEST(ProxyHealth, TellsAnotherTrouble) {
  ProxyHealth health("p:1", false, false);
  EXPECT_EQ("proxy lost: p:1 refuses connections; new connections fail at once; retrying",
            health.lost(0, refused(), kStart));
  EXPECT_EQ("proxy still lost: p:1 now wants a user name and a password (407), and none were given",
            health.lost(0, {Trouble::Authentication, 407, 0}, kStart));
}

TEST(ProxyHealth, ADeadWorkersLossIsForgotten) {
  ProxyHealth health("p:1", true, false);
  EXPECT_TRUE(health.lost(0, refused(), kStart).has_value());
  health.forget(0);
  EXPECT_FALSE(health.is_lost());
  EXPECT_TRUE(health.lost(0, refused(), kStart).has_value());
}

TEST(ProxyHealth, TimesAreForPeople) {
  EXPECT_EQ("0.4 s", describe(milliseconds(450)));
  EXPECT_EQ("12 s", describe(seconds(12)));
  EXPECT_EQ("3 min 5 s", describe(seconds(185)));
}

TEST(RestartPolicy, BacksOffUpToALimitAndForgetsAfterAGoodLife) {
  RestartPolicy policy;
  const auto died = [&](Duration lived) {
    return std::chrono::duration_cast<milliseconds>(policy.after_death(lived)).count();
  };
  std::vector<std::int64_t> delays;
  for (int i = 0; i < 9; ++i) delays.push_back(died(milliseconds(5)));
  EXPECT_EQ((std::vector<std::int64_t>{0, 100, 200, 400, 800, 1600, 3200, 5000, 5000}), delays);
  EXPECT_EQ(9u, policy.deaths());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(5000, died(milliseconds(5)));
  EXPECT_EQ(0, died(seconds(10)));
  EXPECT_EQ(1u, policy.deaths());
  EXPECT_EQ(100, died(seconds(9)));
}

TEST(BeatWatch, CountsTicksWithoutASign) {
  BeatWatch watch;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(watch.tick());
  EXPECT_TRUE(watch.tick());
  watch.beat();
  EXPECT_FALSE(watch.tick());
}

}  // namespace
}  // namespace proxyvpn::app
