#include "dns/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace proxyvpn::dns {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Bytes = std::vector<std::uint8_t>;

Query ask(std::string_view name, RecordType type = RecordType::A) {
  auto query = build_query(name, type);
  EXPECT_TRUE(query) << query.error().message;
  return std::move(*query);
}

Bytes wire_name(std::string_view name) {
  Bytes out;
  while (!name.empty()) {
    const auto label = name.substr(0, name.find('.'));
    out.push_back(static_cast<std::uint8_t>(label.size()));
    out.insert(out.end(), label.begin(), label.end());
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  out.push_back(0);
  return out;
}

const Bytes kPointerToQuestion = {0xc0, 0x0c};

// An answer as a server would write it: the question's own bytes, flags set, records appended.
class Message {
 public:
  explicit Message(const Query& query) : bytes_(query.bytes) { flags(0x8180); }
  Message& flags(unsigned value) {
    bytes_[2] = static_cast<std::uint8_t>(value >> 8);
    bytes_[3] = static_cast<std::uint8_t>(value & 0xff);
    return *this;
  }
  Message& record(const Bytes& owner, unsigned type, const Bytes& data) {
    append(owner);
    append({0, static_cast<std::uint8_t>(type), 0, 1, 0, 0, 1, 44});  // TTL 300
    append({static_cast<std::uint8_t>(data.size() >> 8), static_cast<std::uint8_t>(data.size())});
    append(data);
    const unsigned count = (bytes_[6] * 256U + bytes_[7]) + 1;
    bytes_[6] = static_cast<std::uint8_t>(count >> 8);
    bytes_[7] = static_cast<std::uint8_t>(count);
    return *this;
  }
  Bytes bytes_;

 private:
  void append(const Bytes& more) { bytes_.insert(bytes_.end(), more.begin(), more.end()); }
};

std::vector<std::string> lines(const Answer& answer) {
  std::vector<std::string> out;
  for (const auto& record : answer.records) out.push_back(to_string(record));
  return out;
}

TEST(DnsQuery, HasOneQuestionAndWantsRecursion) {
  const auto query = ask("ifconfig.me.", RecordType::Aaaa);
  EXPECT_EQ("ifconfig.me", query.name);
  const Bytes rest(query.bytes.begin() + 2, query.bytes.end());
  EXPECT_THAT(rest, ElementsAre(1, 0, 0, 1, 0, 0, 0, 0, 0, 0,  // RD, one question
                                8, 'i', 'f', 'c', 'o', 'n', 'f', 'i', 'g', 2, 'm', 'e', 0,  //
                                0, 28, 0, 1));
  EXPECT_EQ(query.id, query.bytes[0] * 256 + query.bytes[1]);
}

TEST(DnsQuery, IdsAreNotPredictableFromOneToTheNext) {
  std::vector<std::uint16_t> ids;
  for (int i = 0; i < 32; ++i) ids.push_back(ask("example.org").id);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  EXPECT_GT(ids.size(), 24U);
  EXPECT_GT(ids.back() - ids.front(), 1000);
}

TEST(DnsQuery, NamesThatDoNotFitAreRefused) {
  const std::string label(63, 'a');
  EXPECT_TRUE(build_query(label + ".example", RecordType::A));
  const std::vector<std::string> bad = {
      "",
      ".",
      "a b",
      "m\xc3\xbcnchen.example",
      "a..b",
      ".a",
      label + "a.example",
      label + "." + label + "." + label + "." + label + ".example",
      std::string("a\0b", 3)};
  for (const auto& name : bad) {
    const auto query = build_query(name, RecordType::A);
    ASSERT_FALSE(query) << name;
    EXPECT_EQ(Code::InvalidArgument, query.error().code);
  }
}

TEST(DnsAnswer, HasItsRecordsAndAddresses) {
  const auto query = ask("example.org");
  Message message(query);
  message.record(kPointerToQuestion, 1, {192, 0, 2, 1})
      .record(kPointerToQuestion, 1, {192, 0, 2, 2});
  const auto answer = parse_answer(message.bytes_, query);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(0, answer->rcode);
  EXPECT_TRUE(answer->recursion_available);
  EXPECT_FALSE(answer->truncated);
  EXPECT_THAT(lines(*answer),
              ElementsAre("example.org. 300 IN A 192.0.2.1", "example.org. 300 IN A 192.0.2.2"));
  EXPECT_THAT(answer->addresses, SizeIs(2));
  EXPECT_EQ("example.org", answer->canonical_name);
}

TEST(DnsAnswer, AliasesAreFollowedInAnyOrder) {
  const auto query = ask("www.example.org", RecordType::Aaaa);
  const Bytes address = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  Bytes other = address;
  other[15] = 2;
  Message message(query);
  message.record(wire_name("b.example.net"), 28, address)
      .record(wire_name("A.example.net"), 5, wire_name("B.EXAMPLE.net"))
      .record(kPointerToQuestion, 5, wire_name("a.example.net"))
      .record(wire_name("elsewhere.example.net"), 28, other);
  const auto answer = parse_answer(message.bytes_, query);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ("B.EXAMPLE.net", answer->canonical_name);
  ASSERT_THAT(answer->addresses, SizeIs(1));
  EXPECT_EQ("2001:db8::1", proxyvpn::to_string(answer->addresses[0]));
  EXPECT_EQ("www.example.org. 300 IN CNAME a.example.net.", lines(*answer)[2]);
}

TEST(DnsAnswer, ALoopOfAliasesEnds) {
  const auto query = ask("a.example");
  Message message(query);
  message.record(kPointerToQuestion, 5, wire_name("b.example"))
      .record(wire_name("b.example"), 5, wire_name("a.example"));
  const auto answer = parse_answer(message.bytes_, query);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_THAT(answer->addresses, IsEmpty());
}

TEST(DnsAnswer, RcodesAndUnknownTypesKeepTheirNumbers) {
  const auto query = ask("no.example");
  Message message(query);
  message.flags(0x8183).record(kPointerToQuestion, 99, {1, 2, 0xab});
  const auto answer = parse_answer(message.bytes_, query);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ("NXDOMAIN", rcode_name(answer->rcode));
  EXPECT_THAT(lines(*answer), ElementsAre("no.example. 300 IN TYPE99 \\# 3 0102ab"));
  EXPECT_EQ("RCODE15", rcode_name(15));
}

TEST(DnsAnswer, AServerThatCouldNotReadTheQuestionMayLeaveItOut) {
  const auto query = ask("example.org");
  Bytes message(query.bytes.begin(), query.bytes.begin() + 12);
  message[2] = 0x81;
  message[3] = 0x81;  // FORMERR
  message[5] = 0;
  const auto answer = parse_answer(message, query);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ("FORMERR", rcode_name(answer->rcode));
}

TEST(DnsAnswer, ATruncatedOneMayStopAnywhereBehindTheHeader) {
  const auto query = ask("example.org");
  Message message(query);
  message.flags(0x8380).record(kPointerToQuestion, 1, {192, 0, 2, 1});
  for (std::size_t size = 12; size <= message.bytes_.size(); ++size) {
    const auto answer = parse_answer(std::span(message.bytes_).first(size), query);
    ASSERT_TRUE(answer) << size << ": " << answer.error().message;
    EXPECT_TRUE(answer->truncated);
  }
}

TEST(DnsAnswer, EveryProperPrefixOfAWholeOneIsRefused) {
  const auto query = ask("example.org");
  Message message(query);
  message.record(kPointerToQuestion, 1, {192, 0, 2, 1});
  for (std::size_t size = 0; size < message.bytes_.size(); ++size) {
    const auto answer = parse_answer(std::span(message.bytes_).first(size), query);
    ASSERT_FALSE(answer) << size;
    EXPECT_EQ(Code::Protocol, answer.error().code);
  }
}

struct WrongCase {
  const char* expected;
  std::function<void(Message&)> spoil;
};

TEST(DnsAnswer, WhatDoesNotAnswerTheQuestionIsNamed) {
  const auto query = ask("example.org");
  const std::vector<WrongCase> cases = {
      {"its id is", [](Message& m) { m.bytes_[1] ^= 1; }},
      {"it is a question, not a response", [](Message& m) { m.flags(0x0180); }},
      {"another operation", [](Message& m) { m.flags(0x9180); }},
      {"another question: fxample.org A", [](Message& m) { m.bytes_[13] = 'f'; }},
      {"another question: example.org AAAA", [](Message& m) { m.bytes_[12 + 13 + 1] = 28; }},
      {"are no DNS message", [](Message& m) { m.bytes_.push_back(0); }},
      {"record 1 does not parse",
       [](Message& m) {
         m.record(kPointerToQuestion, 1, {192, 0, 2});
       }},
      {"record 1 does not parse", [](Message& m) { m.record(kPointerToQuestion, 28, {1}); }},
      {"record 1 does not parse",
       [](Message& m) {
         m.record(kPointerToQuestion, 5, {1, 'a', 0, 7});
       }},
  };
  for (const auto& one : cases) {
    Message message(query);
    one.spoil(message);
    const auto answer = parse_answer(message.bytes_, query);
    ASSERT_FALSE(answer) << one.expected;
    EXPECT_THAT(answer.error().message, HasSubstr(one.expected));
  }
}

TEST(DnsAnswer, NumberOfRecordsIsBounded) {
  const auto query = ask("example.org");
  Message message(query);
  for (std::size_t i = 0; i <= kMaxRecords; ++i)
    message.record(kPointerToQuestion, 1, {192, 0, 2, 1});
  const auto answer = parse_answer(message.bytes_, query);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message, HasSubstr("513 records"));
}

TEST(DnsAnswer, NamesAreEscapedForATerminal) {
  const auto query = ask("example.org");
  Message message(query);
  message.record({2, 0x1b, 'c', 0}, 5, {1, '\n', 0});
  const auto answer = parse_answer(message.bytes_, query);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_THAT(lines(*answer), ElementsAre("\\027c. 300 IN CNAME \\010."));
}

TEST(DnsOverTcp, AMessageCutAnywhereIsPutTogether) {
  const Bytes message = {1, 2, 3, 4, 5};
  const auto stream = with_length_prefix(message);
  EXPECT_THAT(stream, ElementsAre(0, 5, 1, 2, 3, 4, 5));
  for (std::size_t cut = 0; cut < stream.size(); ++cut) {
    TcpMessageReader reader;
    EXPECT_FALSE(reader.feed(std::span(stream).first(cut)));
    ASSERT_TRUE(reader.feed(std::span(stream).subspan(cut)));
    EXPECT_EQ(message, Bytes(reader.message().begin(), reader.message().end()));
  }
}

TEST(DnsOverTcp, NothingGrowsBeyondOneMessage) {
  TcpMessageReader reader;
  const Bytes flood(200'000, 0xff);
  EXPECT_TRUE(reader.feed(flood));
  EXPECT_TRUE(reader.feed(flood));
  EXPECT_EQ(kMaxMessageBytes + 2, reader.received());
  EXPECT_EQ(kMaxMessageBytes, reader.message().size());
}

}  // namespace
}  // namespace proxyvpn::dns
