#include "connect/address_order.h"

#include <gtest/gtest.h>

#include <string>

namespace proxyvpn::connect {
namespace {

std::vector<IpAddress> addresses(const std::string& text) {
  std::vector<IpAddress> result;
  std::string word;
  for (const char c : text + " ") {
    if (c != ' ') {
      word += c;
    } else if (!word.empty()) {
      result.push_back(*IpAddress::parse(word));
      word.clear();
    }
  }
  return result;
}

std::string shown(std::span<const IpAddress> list) {
  std::string text;
  for (const IpAddress& address : list) text += (text.empty() ? "" : " ") + to_string(address);
  return text;
}

TEST(OrderAddresses, Table) {
  struct Case {
    std::string sorted;
    std::string winner;
    std::size_t first_family_count;
    std::string expected;
  };
  const Case cases[] = {
      {"", "", 1, ""},
      {"", "192.0.2.1", 1, ""},
      {"192.0.2.1", "", 1, "192.0.2.1"},
      {"192.0.2.1 192.0.2.1 ::1 192.0.2.1 ::1", "", 1, "192.0.2.1 ::1"},
      {"192.0.2.1 192.0.2.2 192.0.2.3", "", 1, "192.0.2.1 192.0.2.2 192.0.2.3"},
      {"::1 ::2 ::3 192.0.2.1 192.0.2.2", "", 1, "::1 192.0.2.1 ::2 192.0.2.2 ::3"},
      {"::1 ::2 ::3 192.0.2.1 192.0.2.2", "", 2, "::1 ::2 192.0.2.1 ::3 192.0.2.2"},
      {"::1 ::2 ::3 192.0.2.1 192.0.2.2", "", 0, "::1 192.0.2.1 ::2 192.0.2.2 ::3"},
      {"::1 192.0.2.1", "", 9, "::1 192.0.2.1"},
      {"192.0.2.1 192.0.2.2 ::1", "", 1, "192.0.2.1 ::1 192.0.2.2"},
      {"::1 192.0.2.1 192.0.2.2 192.0.2.3 ::2", "", 1, "::1 192.0.2.1 ::2 192.0.2.2 192.0.2.3"},
      {"::1 ::2 192.0.2.1 192.0.2.2", "192.0.2.2", 1, "192.0.2.2 ::1 192.0.2.1 ::2"},
      {"::1 ::2 192.0.2.1 192.0.2.2", "::2", 1, "::2 192.0.2.1 ::1 192.0.2.2"},
      {"::1 ::2 192.0.2.1", "192.0.2.9", 1, "::1 192.0.2.1 ::2"},
      {"::1 ::2 192.0.2.1", "::1", 2, "::1 192.0.2.1 ::2"},
      {"192.0.2.1 192.0.2.2", "192.0.2.2", 1, "192.0.2.2 192.0.2.1"},
  };
  for (const Case& c : cases) {
    const auto winner =
        c.winner.empty() ? std::nullopt : std::optional(*IpAddress::parse(c.winner));
    EXPECT_EQ(c.expected, shown(order_addresses(addresses(c.sorted), winner, c.first_family_count)))
        << c.sorted << ", winner " << c.winner;
  }
}

TEST(ProxyAddresses, LastWinnerComesFirstUntilItFailsOrGoes) {
  ProxyAddresses proxy;
  EXPECT_EQ("", shown(proxy.ordered()));
  proxy.assign(addresses("::1 ::2 192.0.2.1"));
  EXPECT_EQ("::1 192.0.2.1 ::2", shown(proxy.ordered()));
  proxy.won(*IpAddress::parse("192.0.2.1"));
  EXPECT_EQ("192.0.2.1 ::1 ::2", shown(proxy.ordered()));
  proxy.failed(*IpAddress::parse("::1"));  // not the winner
  EXPECT_EQ("192.0.2.1 ::1 ::2", shown(proxy.ordered()));
  proxy.assign(addresses("::3 192.0.2.1"));
  EXPECT_EQ("192.0.2.1 ::3", shown(proxy.ordered()));
  proxy.failed(*IpAddress::parse("192.0.2.1"));
  EXPECT_EQ("::3 192.0.2.1", shown(proxy.ordered()));
  proxy.won(*IpAddress::parse("192.0.2.1"));
  proxy.assign(addresses("::3 192.0.2.7"));
  EXPECT_EQ("::3 192.0.2.7", shown(proxy.ordered()));
  // A late report about an address that is not the proxy's any more.
  proxy.won(*IpAddress::parse("192.0.2.1"));
  EXPECT_EQ("::3 192.0.2.7", shown(proxy.ordered()));
}

TimePoint at(int ms) { return TimePoint() + milliseconds(ms); }
using State = RaceSchedule::State;

TEST(RaceSchedule, StartsOneAttemptEachQuarterSecond) {
  RaceSchedule race(3, at(1000));
  EXPECT_EQ(at(1000), race.deadline());
  EXPECT_EQ(std::nullopt, race.next(at(999)));
  EXPECT_EQ(0u, race.next(at(1000)));
  EXPECT_EQ(std::nullopt, race.next(at(1000)));
  EXPECT_EQ(at(1250), race.deadline());
  EXPECT_EQ(std::nullopt, race.next(at(1249)));
  EXPECT_EQ(1u, race.next(at(1260)));  // late: the next delay counts from the start
  EXPECT_EQ(at(1510), race.deadline());
  EXPECT_EQ(2u, race.next(at(1510)));
  EXPECT_EQ(std::nullopt, race.deadline());
  EXPECT_EQ(std::nullopt, race.next(at(9999)));
  EXPECT_EQ(State::Racing, race.state());
}

TEST(RaceSchedule, FailureStartsTheNextAtOnce) {
  RaceSchedule race(3, at(0));
  EXPECT_EQ(0u, race.next(at(0)));
  race.failed(0, at(10));
  EXPECT_EQ(at(10), race.deadline());
  EXPECT_EQ(1u, race.next(at(10)));
  EXPECT_EQ(at(260), race.deadline());
  race.failed(0, at(20));  // said before
  EXPECT_EQ(at(260), race.deadline());
  race.failed(2, at(20));  // not started
  EXPECT_EQ(at(260), race.deadline());
  race.failed(1, at(30));
  EXPECT_EQ(2u, race.next(at(30)));
  EXPECT_EQ(State::Racing, race.state());
  race.failed(2, at(40));
  EXPECT_EQ(State::Failed, race.state());
  EXPECT_EQ(std::nullopt, race.deadline());
  EXPECT_EQ(std::nullopt, race.next(at(1000)));
  EXPECT_FALSE(race.connected(2));
}

TEST(RaceSchedule, FailureOfAnEarlierAttemptDoesNotPutTheNextOff) {
  RaceSchedule race(3, at(0));
  EXPECT_EQ(0u, race.next(at(0)));
  EXPECT_EQ(1u, race.next(at(250)));
  race.failed(0, at(300));
  EXPECT_EQ(at(300), race.deadline());
  // Asked late, after the regular time.
  EXPECT_EQ(2u, race.next(at(600)));
}

TEST(RaceSchedule, FirstToConnectWinsAndTheOthersAreLeftOver) {
  RaceSchedule race(4, at(0));
  EXPECT_FALSE(race.connected(0));  // not started
  EXPECT_EQ(0u, race.next(at(0)));
  EXPECT_EQ(1u, race.next(at(250)));
  EXPECT_EQ(2u, race.next(at(500)));
  race.failed(1, at(510));
  EXPECT_TRUE(race.connected(2));
  EXPECT_EQ(State::Won, race.state());
  EXPECT_EQ(2u, race.winner());
  EXPECT_TRUE(race.pending(0));   // to be closed
  EXPECT_FALSE(race.pending(1));  // failed
  EXPECT_FALSE(race.pending(2));  // the winner
  EXPECT_FALSE(race.pending(3));  // never started
  EXPECT_FALSE(race.connected(0));
  EXPECT_EQ(2u, race.winner());
  EXPECT_EQ(std::nullopt, race.next(at(10000)));
  EXPECT_EQ(std::nullopt, race.deadline());
  race.failed(2, at(600));
  EXPECT_EQ(State::Won, race.state());
}

TEST(RaceSchedule, NoAddressIsAFailure) {
  RaceSchedule none(0, at(0));
  EXPECT_EQ(State::Failed, none.state());
  EXPECT_EQ(std::nullopt, none.next(at(0)));
  EXPECT_EQ(std::nullopt, none.deadline());
}

// How many attempts start, in order, when none of them ever answers.
std::size_t start_all(RaceSchedule& race) {
  std::size_t started = 0;
  for (int ms = 0; ms < 1000000; ms += 250) {
    const auto attempt = race.next(at(ms));
    if (attempt == started && race.pending(started)) ++started;
  }
  return started;
}

TEST(RaceSchedule, TooManyAddressesAreCut) {
  RaceSchedule many(1000, at(0));
  const std::size_t started = start_all(many);
  EXPECT_EQ(kMaxRaceAttempts, started);
  for (std::size_t i = 0; i < started; ++i) many.failed(i, at(0));
  EXPECT_EQ(State::Failed, many.state());
}

TEST(RaceSchedule, DelayHasALowerBound) {
  RaceSchedule race(2, at(0), milliseconds(0));
  EXPECT_EQ(0u, race.next(at(0)));
  EXPECT_EQ(at(10), race.deadline());
}

}  // namespace
}  // namespace proxyvpn::connect
