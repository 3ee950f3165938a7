// Messages as values and text, without a kernel.
#include <gtest/gtest.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include "netlink/link_codec.h"
#include "netlink/route_codec.h"
#include "netlink/rule_codec.h"

namespace proxyvpn::netlink {
namespace {

PolicyRule rule_of(Family family, RuleAction action, bool invert) {
  return {family, 200,
          invert, Mark{0x10000000, 0x30000000},
          action, action == RuleAction::Lookup ? kDefaultTable : 0};
}

TEST(RuleCodec, WhatIsWrittenIsReadBack) {
  for (const Family family : {Family::V4, Family::V6}) {
    for (const RuleAction action : {RuleAction::Lookup, RuleAction::Unreachable}) {
      for (const bool invert : {false, true}) {
        const PolicyRule rule = rule_of(family, action, invert);
        const Message message = rule_message(rule, RTM_NEWRULE, 0);
        EXPECT_EQ(rule, parse_rule(message.raw()));
        EXPECT_EQ(kProtocolId, rule_protocol(message.raw()));
      }
    }
  }
}

TEST(RuleCodec, TextIsThatOfIpRule) {
  EXPECT_EQ("200: from all fwmark 0x10000000/0x30000000 lookup 28790 proto 112",
            rule_text(rule_message(rule_of(Family::V4, RuleAction::Lookup, false), 0, 0).raw()));
  EXPECT_EQ(
      "200: not from all fwmark 0x10000000/0x30000000 unreachable proto 112",
      rule_text(rule_message(rule_of(Family::V6, RuleAction::Unreachable, true), 0, 0).raw()));
}

TEST(RuleCodec, ARuleThatSelectsByMoreThanTheMarkIsNoneOfOurs) {
  const PolicyRule rule = rule_of(Family::V4, RuleAction::Lookup, false);
  Message with_device = rule_message(rule, RTM_NEWRULE, 0);
  with_device.put_string(FRA_IIFNAME, "eth0");
  EXPECT_FALSE(parse_rule(with_device.raw()));
  Message suppressing = rule_message(rule, RTM_NEWRULE, 0);
  suppressing.put_u32(FRA_SUPPRESS_PREFIXLEN, 0);
  EXPECT_FALSE(parse_rule(suppressing.raw()));
  Message saying_nothing_new = rule_message(rule, RTM_NEWRULE, 0);
  saying_nothing_new.put_u32(FRA_SUPPRESS_PREFIXLEN, 0xffffffff);
  EXPECT_EQ(rule, parse_rule(saying_nothing_new.raw()));
}

TEST(RouteCodec, WhatIsWrittenIsTheSameRoute) {
  for (const Family family : {Family::V4, Family::V6}) {
    const Route barrier{family, RouteType::Unreachable, kDefaultTable, 4294967295u, ""};
    const Route device{family, RouteType::Unicast, kDefaultTable, 100, "tun0"};
    const auto listed_barrier = parse_route(route_message(barrier, 0, RTM_NEWROUTE, 0).raw());
    const auto listed_device = parse_route(route_message(device, 7, RTM_NEWROUTE, 0).raw());
    ASSERT_TRUE(listed_barrier && listed_device);
    EXPECT_TRUE(same_route(*listed_barrier, barrier, 0));
    EXPECT_TRUE(same_route(*listed_device, device, 7));
    EXPECT_FALSE(same_route(*listed_device, device, 8)) << "another device of this name";
    EXPECT_FALSE(same_route(*listed_device, barrier, 0));
    const Route local{family, RouteType::Local, kDefaultTable, 4294967295u, "lo"};
    const auto listed_local = parse_route(route_message(local, 1, RTM_NEWROUTE, 0).raw());
    ASSERT_TRUE(listed_local);
    EXPECT_TRUE(same_route(*listed_local, local, 1));
    EXPECT_FALSE(same_route(*listed_local, barrier, 0)) << "another type in the same place";
    Route elsewhere = barrier;
    elsewhere.table = 255 + 28790;
    EXPECT_FALSE(same_route(*listed_barrier, elsewhere, 0));
  }
}

TEST(RouteCodec, MetricZeroIs1024InIpv6) {
  const Route route{Family::V6, RouteType::Unicast, kDefaultTable, 0, "tun0"};
  const auto listed = parse_route(route_message(route, 7, RTM_NEWROUTE, 0).raw());
  ASSERT_TRUE(listed);
  EXPECT_EQ(1024u, listed->metric);
  EXPECT_TRUE(same_route(*listed, route, 7));
}

TEST(RouteCodec, ARouteByAGatewayOrOfSomebodyElseIsNotOurs) {
  const Route route{Family::V4, RouteType::Unicast, kDefaultTable, 100, "tun0"};
  Message by_gateway = route_message(route, 7, RTM_NEWROUTE, 0);
  by_gateway.put_u32(RTA_GATEWAY, 0x0100007f);
  EXPECT_FALSE(same_route(*parse_route(by_gateway.raw()), route, 7));
  auto foreign = *parse_route(route_message(route, 7, RTM_NEWROUTE, 0).raw());
  foreign.protocol = RTPROT_STATIC;
  EXPECT_FALSE(same_route(foreign, route, 7));
  EXPECT_TRUE(same_place(foreign, route));
}

// A kernel without IPv6 answers a listing of it with what other families have.
TEST(RouteCodec, OtherFamiliesAreNoRoutes) {
  rtmsg header{};
  header.rtm_family = 28;  // AF_MPLS
  Message message(RTM_NEWROUTE, 0);
  message.header(header);
  EXPECT_FALSE(parse_route(message.raw()));
}

// Every message cut at every length, and with attributes that claim to be longer than they are.
TEST(Codecs, CutMessagesAreReadWithoutHarm) {
  Message full = rule_message(rule_of(Family::V4, RuleAction::Lookup, false), RTM_NEWRULE, 0);
  full.put_string(FRA_IIFNAME, "eth0");
  const StoredMessage whole = store(full.raw());
  EXPECT_EQ("200: from all fwmark 0x10000000/0x30000000 iif eth0 lookup 28790 proto 112",
            rule_text(stored(whole)));
  for (std::size_t length = sizeof(nlmsghdr); length <= whole.size(); ++length) {
    for (const std::size_t spoiled : {std::size_t{0}, sizeof(nlmsghdr) + sizeof(fib_rule_hdr)}) {
      StoredMessage cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      const auto size = static_cast<std::uint32_t>(length);
      std::memcpy(cut.data(), &size, sizeof size);
      if (spoiled != 0 && spoiled < length) cut[spoiled] = 0xff;
      const nlmsghdr* message = stored(cut);
      const bool has_header = length >= sizeof(nlmsghdr) + sizeof(fib_rule_hdr);
      EXPECT_EQ(has_header, !rule_text(message).empty()) << length;
      parse_rule(message);
      parse_route(message);
      parse_link(message);
      parse_address(message);
    }
  }
}

}  // namespace
}  // namespace proxyvpn::netlink
