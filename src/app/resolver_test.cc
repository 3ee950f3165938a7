#include "app/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/wait.h>

#include <cerrno>

#include "testing/addresses.h"

namespace proxyvpn::app {
namespace {

using proxyvpn::testing::ip;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const SandboxUser kUser = find_sandbox_user();

bool no_child_left() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

TEST(Answer, ComesBackAsItWas) {
  const Addresses addresses{ip("192.0.2.1"), ip("2001:db8::1"), ip("127.0.0.1")};
  EXPECT_EQ(decode_answer("h", encode_answer(0, 0, addresses)), addresses);
}

TEST(Answer, IsCheckedToTheLastByte) {
  const auto good = encode_answer(0, 0, Addresses{ip("192.0.2.1"), ip("2001:db8::1")});
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(decode_answer("h", std::span(good).first(length))) << length;
  }
  auto longer = good;
  longer.push_back(0);
  EXPECT_FALSE(decode_answer("h", longer));
  auto many = good;
  many[8] = 200;  // count
  EXPECT_FALSE(decode_answer("h", many));
}

TEST(Answer, AddressesThatNoMachineHasAreLeftOut) {
  EXPECT_THAT(decode_answer("h", encode_answer(0, 0,
                                               Addresses{ip("0.0.0.0"), ip("ff02::1"), ip("::"),
                                                         ip("224.0.0.1"), ip("192.0.2.1")}))
                  .value(),
              ElementsAre(ip("192.0.2.1")));
  const auto none = decode_answer("proxy.example", encode_answer(0, 0, Addresses{ip("0.0.0.0")}));
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message, HasSubstr("--proxy-ip"));
}

TEST(Answer, AFailureNamesTheHostAndTheReason) {
  const auto unknown = decode_answer("proxy.example", encode_answer(EAI_NONAME, 0, {}));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::NotFound);
  EXPECT_THAT(unknown.error().message, HasSubstr("'proxy.example'"));
  EXPECT_THAT(unknown.error().message, HasSubstr("not known"));
  const auto system = decode_answer("h", encode_answer(EAI_SYSTEM, ENFILE, {}));
  ASSERT_FALSE(system);
  EXPECT_EQ(system.error().sys_errno, ENFILE);
}

TEST(Lookup, ALiteralNeedsNoProcess) {
  auto lookup = Lookup::start("2001:db8::7", kUser);
  ASSERT_TRUE(lookup);
  EXPECT_EQ(lookup->fd(), -1);
  EXPECT_TRUE(no_child_left());
  EXPECT_THAT(lookup->poll(Clock::now()).value().value(), ElementsAre(ip("2001:db8::7")));
}

TEST(Lookup, AnUnprivilegedProcessFindsLocalhost) {
  const auto addresses = resolve_now("localhost", kUser);
  ASSERT_TRUE(addresses) << addresses.error().message;
  for (const auto& address : *addresses) EXPECT_TRUE(address.is_loopback());
  EXPECT_TRUE(no_child_left());
}

// ".invalid" never exists (RFC 6761 section 6.4); without a resolver the answer is an error too.
TEST(Lookup, ANameThatIsNotThereIsAnError) {
  const auto addresses = resolve_now("no-such-host.invalid", kUser, milliseconds(3000));
  ASSERT_FALSE(addresses);
  EXPECT_THAT(addresses.error().message, HasSubstr("no-such-host.invalid"));
  EXPECT_TRUE(no_child_left());
}

TEST(Lookup, BehindTheDeadlineTheProcessIsEnded) {
  auto lookup = Lookup::start("no-such-host.invalid", kUser);
  ASSERT_TRUE(lookup);
  const auto answer = lookup->poll(lookup->deadline() + seconds(1));
  ASSERT_TRUE(answer);
  // Either it was fast, or it is a timeout; it is never waited for.
  EXPECT_FALSE(*answer);
  EXPECT_TRUE(no_child_left());
}

TEST(Lookup, TheProcessGoesWithItsObject) {
  {
    auto lookup = Lookup::start("no-such-host.invalid", kUser);
    ASSERT_TRUE(lookup);
    auto moved = std::move(*lookup);
    EXPECT_GE(moved.fd(), 0);
  }
  EXPECT_TRUE(no_child_left());
}

TEST(BackgroundResolver, CallsBackFromTheLoop) {
  auto reactor = event::Reactor::open();
  ASSERT_TRUE(reactor);
  BackgroundResolver resolver(*reactor);
  std::vector<Addresses> got;
  const auto take = [&](Result<Addresses> answer) {
    ASSERT_TRUE(answer) << answer.error().message;
    got.push_back(*answer);
  };
  ASSERT_TRUE(resolver.start("localhost", kUser, kResolveTimeout, take));
  EXPECT_FALSE(resolver.start("localhost", kUser, kResolveTimeout, take));
  for (int turn = 0; turn < 1000 && got.empty(); ++turn) reactor->turn(seconds(5));
  ASSERT_EQ(got.size(), 1u);
  ASSERT_TRUE(resolver.start("192.0.2.4", kUser, kResolveTimeout, take));
  EXPECT_EQ(got.size(), 1u);
  for (int turn = 0; turn < 1000 && got.size() < 2; ++turn) reactor->turn(seconds(5));
  ASSERT_EQ(got.size(), 2u);
  EXPECT_THAT(got.back(), Contains(ip("192.0.2.4")));
}

}  // namespace
}  // namespace proxyvpn::app
