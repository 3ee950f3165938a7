#include "names/stand_ins.h"

#include <gtest/gtest.h>

#include "dns/message.h"
#include "names/stand_in_answerer.h"
#include "testing/addresses.h"

namespace proxyvpn::names {
namespace {

using testing::ip;

TEST(StandIns, ANameKeepsItsAddress) {
  StandIns stand_ins(ip("198.18.0.1"), 10);
  EXPECT_EQ(stand_ins.address_of("a.test"), ip("198.18.0.1"));
  EXPECT_EQ(stand_ins.address_of("b.test"), ip("198.18.0.2"));
  EXPECT_EQ(stand_ins.address_of("a.test"), ip("198.18.0.1"));
  EXPECT_EQ(stand_ins.name_of(ip("198.18.0.2")), "b.test");
  EXPECT_EQ(stand_ins.name_of(ip("198.18.0.3")), std::nullopt);
  EXPECT_EQ(stand_ins.name_of(ip("198.18.0.0")), std::nullopt);
  EXPECT_EQ(stand_ins.name_of(ip("2001:db8::1")), std::nullopt);
}

TEST(StandIns, TheLongestUnusedGivesItsPlace) {
  StandIns stand_ins(ip("198.18.0.1"), 3);
  for (const char* name : {"a", "b", "c"}) stand_ins.address_of(name);
  stand_ins.name_of(ip("198.18.0.1"));  // a is in use
  EXPECT_EQ(stand_ins.address_of("d"), ip("198.18.0.2"));
  EXPECT_EQ(stand_ins.size(), 3U);
  EXPECT_EQ(stand_ins.name_of(ip("198.18.0.2")), "d");
  EXPECT_EQ(stand_ins.name_of(ip("198.18.0.1")), "a");
  EXPECT_EQ(stand_ins.address_of("b"), ip("198.18.0.3"));  // c was the oldest
}

TEST(StandIns, CoversItsNetworkAndNoMore) {
  const StandIns stand_ins(ip("198.18.0.1"), 2);
  EXPECT_TRUE(stand_ins.covers(ip("198.18.0.2")));
  EXPECT_FALSE(stand_ins.covers(ip("198.18.0.3")));
  EXPECT_FALSE(stand_ins.covers(ip("198.18.0.0")));
}

struct Answered {
  int rcode = -1;
  std::vector<IpAddress> addresses;
};

Answered answer_to(std::string_view name, std::uint16_t type) {
  StandIns stand_ins(ip("198.18.0.1"), 10);
  StandInAnswerer answerer(stand_ins);
  const auto query = dns::build_query(name, static_cast<dns::RecordType>(type));
  Answered result;
  answerer.ask(query->bytes, Transport::Datagram, [&](std::span<const std::uint8_t> bytes) {
    const auto answer = dns::parse_answer(bytes, *query);
    ASSERT_TRUE(answer) << answer.error().message;
    result = {answer->rcode, answer->addresses};
  });
  return result;
}

TEST(StandInAnswerer, KnowsWhatAskingForAddressesNeeds) {
  EXPECT_EQ(answer_to("a.test", 1).addresses, std::vector{ip("198.18.0.1")});
  // The name is there, without IPv6 and without hints for HTTPS: clients take the A.
  for (const std::uint16_t type : std::initializer_list<std::uint16_t>{28, 64, 65}) {
    EXPECT_EQ(answer_to("a.test", type).rcode, 0) << type;
    EXPECT_TRUE(answer_to("a.test", type).addresses.empty()) << type;
  }
  for (const std::uint16_t type : std::initializer_list<std::uint16_t>{2, 12, 15, 16, 33, 255}) {
    EXPECT_EQ(answer_to("a.test", type).rcode, 4) << type;  // NOTIMP
  }
}

TEST(StandInAnswerer, LeavesSpecialNamesWhereTheyBelong) {
  EXPECT_EQ(answer_to("localhost", 1).addresses, std::vector{ip("127.0.0.1")});
  EXPECT_EQ(answer_to("x.LocalHost", 28).addresses, std::vector{ip("::1")});
  EXPECT_EQ(answer_to("x.invalid", 1).rcode, 3);
  EXPECT_EQ(answer_to("a/b.test", 1).rcode, 3);
  EXPECT_EQ(answer_to("notlocalhost", 1).addresses, std::vector{ip("198.18.0.1")});
}

TEST(StandInAnswerer, SaysNothingToWhatIsNoQuestion) {
  StandIns stand_ins(ip("198.18.0.1"), 10);
  StandInAnswerer answerer(stand_ins);
  const std::vector<std::uint8_t> noise(40, 0xff);
  answerer.ask(noise, Transport::Datagram, [](auto) { ADD_FAILURE(); });
}

}  // namespace
}  // namespace proxyvpn::names
