#include "dns/question.h"

#include <gtest/gtest.h>

#include "dns/message.h"

namespace proxyvpn::dns {
namespace {

using Bytes = std::vector<std::uint8_t>;

Query query_for(std::string_view name, RecordType type = RecordType::A) {
  auto query = build_query(name, type);
  EXPECT_TRUE(query) << name;
  return *query;
}

// An OPT record behind the question (RFC 6891 6.1.2): the root, 41, the size, four bytes of zero.
Bytes with_edns(Bytes message, std::uint16_t size) {
  message[11] = 1;
  const Bytes opt{
      0, 0, 41, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size), 0, 0, 0,
      0, 0, 0};
  message.insert(message.end(), opt.begin(), opt.end());
  return message;
}

TEST(ParseQuestion, ReadsWhatTheLibraryAsks) {
  const Query query = query_for("Www.Example.COM", RecordType::Aaaa);
  const auto question = parse_question(query.bytes);
  ASSERT_TRUE(question);
  EXPECT_EQ(question->id, query.id);
  EXPECT_EQ(question->name, "www.example.com");
  EXPECT_EQ(question->type, 28);
  EXPECT_EQ(question->klass, 1);
  EXPECT_EQ(question->end, query.bytes.size());
  EXPECT_EQ(question->largest_udp, kPlainUdpBytes);
  EXPECT_FALSE(question->edns);
}

TEST(ParseQuestion, KnowsWhatTheClientTakes) {
  EXPECT_EQ(parse_question(with_edns(query_for("a.test").bytes, 1232))->largest_udp, 1232U);
  // RFC 6891 6.2.3: below 512 is 512.
  EXPECT_EQ(parse_question(with_edns(query_for("a.test").bytes, 100))->largest_udp, 512U);
}

TEST(ParseQuestion, RefusesWhatIsNoQuestion) {
  const Bytes good = query_for("a.test").bytes;
  for (std::size_t n = 0; n < good.size(); ++n) {
    EXPECT_FALSE(parse_question(std::span(good).first(n))) << n;
  }
  Bytes response = good;
  response[2] |= 0x80;
  EXPECT_FALSE(parse_question(response));
  Bytes notify = good;
  notify[2] |= 0x20;
  EXPECT_FALSE(parse_question(notify));
  Bytes none = good;
  none[5] = 0;
  EXPECT_FALSE(parse_question(none));
  Bytes two = good;
  two[5] = 2;
  EXPECT_FALSE(parse_question(two));
}

TEST(IsHostName, TakesWhatMayStandInARequestLine) {
  for (const char* name : {"a", "a.test", "_sip.a-b.test", "xn--bcher-kva.test", "4.test"}) {
    EXPECT_TRUE(is_host_name(name)) << name;
  }
  for (const char* name :
       {"", ".", "a..b", ".a", "a b", "a\\032b", "a/b", "a:1", "a@b", "a\r\nb"}) {
    EXPECT_FALSE(is_host_name(name)) << name;
  }
}

TEST(Answer, IsOneThatTheParserTakes) {
  for (const char* text : {"198.18.0.1", "2001:db8::1"}) {
    const IpAddress address = *IpAddress::parse(text);
    const Query query = query_for("a.test", address.is_v4() ? RecordType::A : RecordType::Aaaa);
    for (const bool edns : {false, true}) {
      const Bytes message = edns ? with_edns(query.bytes, 1232) : query.bytes;
      const auto question = parse_question(message);
      const auto answer = parse_answer(answer_address(message, *question, address, 7), query);
      ASSERT_TRUE(answer) << answer.error().message;
      EXPECT_EQ(answer->rcode, 0);
      EXPECT_TRUE(answer->recursion_available);
      ASSERT_EQ(answer->records.size(), 1U);
      EXPECT_EQ(answer->records[0].ttl, 7U);
      EXPECT_EQ(answer->addresses, std::vector{address});
    }
  }
}

TEST(Answer, OfNothingCarriesTheCode) {
  const Query query = query_for("a.test");
  const auto question = parse_question(query.bytes);
  const auto answer = parse_answer(answer_nothing(query.bytes, *question, Rcode::NxDomain), query);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->rcode, 3);
  EXPECT_TRUE(answer->records.empty());
}

TEST(FitUdp, CutsWhatTheClientDoesNotTake) {
  const Query query = query_for("a.test");
  const auto question = parse_question(query.bytes);
  Bytes answer = answer_address(query.bytes, *question, *IpAddress::parse("192.0.2.1"), 60);
  EXPECT_EQ(fit_udp(answer, *question), answer);
  answer.resize(kPlainUdpBytes + 1);
  const Bytes cut = fit_udp(answer, *question);
  EXPECT_EQ(cut.size(), query.bytes.size());
  const auto parsed = parse_answer(cut, query);
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(parsed->truncated);
  Question generous = *question;
  generous.largest_udp = 4096;
  EXPECT_EQ(fit_udp(answer, generous).size(), answer.size());
}

TEST(MessageId, IsReadAndWritten) {
  Bytes message = query_for("a.test").bytes;
  set_message_id(message, 0xabcd);
  EXPECT_EQ(message_id(message), 0xabcd);
  EXPECT_EQ(message_id(std::span(message).first(1)), 0);
}

}  // namespace
}  // namespace proxyvpn::dns
