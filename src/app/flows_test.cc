#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/flow_dump.h"
#include "app/flow_owner.h"
#include "app/flows_view.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

using ::testing::HasSubstr;

FlowRecord flow(std::uint64_t serial, const char* target) {
  FlowRecord record;
  record.id = connect::first_flow_id(2) + serial;
  record.destination = parse_endpoint(target).value();
  record.source = record.destination;
  record.source.port = 40000;
  record.age = seconds(100);
  record.idle = milliseconds(1500);
  return record;
}

std::vector<std::uint8_t> encode(const std::vector<FlowRecord>& flows, std::uint64_t open) {
  std::vector<std::uint8_t> bytes;
  append_header(bytes, TimePoint(seconds(7)), open, flows.size());
  EXPECT_EQ(kFlowHeaderSize, bytes.size());
  for (const auto& record : flows) append_record(bytes, record);
  EXPECT_EQ(kFlowHeaderSize + flows.size() * kFlowRecordSize, bytes.size());
  return bytes;
}

TEST(FlowDump, WhatWasWrittenIsRead) {
  auto one = flow(1, "192.0.2.1:443");
  one.bytes_up = 5;
  one.bytes_down = ~std::uint64_t{0};
  auto two = flow(2, "[2001:db8::1]:80");
  two.state = connect::FlowState::HalfClosed;
  auto bytes = encode({one, two}, 9);
  bytes.resize(bytes.size() + 1000);  // the file is larger than what it holds
  const auto dump = decode_flows(bytes);
  ASSERT_TRUE(dump.has_value());
  EXPECT_EQ(9u, dump->open);
  EXPECT_EQ(TimePoint(seconds(7)), dump->taken);
  EXPECT_THAT(dump->flows, ::testing::ElementsAre(one, two));
}

TEST(FlowDump, NothingThatIsOutOfRangeIsTaken) {
  const auto good = encode({flow(1, "192.0.2.1:443")}, 1);
  for (std::size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(decode_flows(std::span(good).first(length)).has_value()) << length;
  }
  const auto with = [&](std::size_t at, std::uint8_t value) {
    auto bad = good;
    bad[at] = value;
    return decode_flows(bad).has_value();
  };
  EXPECT_TRUE(with(kFlowHeaderSize, 77));            // another id is as good
  EXPECT_FALSE(with(0, 0));                          // the mark
  EXPECT_FALSE(with(15, 0x80));                      // a time before the machine's start
  EXPECT_FALSE(with(16, 0));                         // fewer open than written
  EXPECT_FALSE(with(24, 2));                         // more records than there are bytes
  EXPECT_FALSE(with(31, 1));                         // more than anybody has
  EXPECT_FALSE(with(kFlowHeaderSize + 15, 1));       // an age that no clock gives
  EXPECT_FALSE(with(kFlowHeaderSize + 23, 1));       // the same, idle
  EXPECT_FALSE(with(kFlowHeaderSize + 40 + 36, 5));  // a family
  EXPECT_FALSE(with(kFlowHeaderSize + 40 + 37, 0));  // a state
  EXPECT_FALSE(with(kFlowHeaderSize + 40 + 37, 7));  // a state
}

TEST(FlowDump, TimesAreToldFromNow) {
  connect::FlowInfo info;
  info.started = TimePoint(seconds(10));
  info.active = TimePoint(seconds(14));
  const auto record = to_record(info, TimePoint(milliseconds(15'500)));
  EXPECT_EQ(milliseconds(5500), record.age);
  EXPECT_EQ(milliseconds(1500), record.idle);
  EXPECT_EQ(milliseconds(0), to_record(info, TimePoint(seconds(1))).age);
}

TEST(FlowsView, RatesAreTheDifferenceOfTwoLooks) {
  FlowList before;
  before.flows = {flow(1, "192.0.2.1:443")};
  FlowList now = before;
  now.flows[0].age += milliseconds(500);
  now.flows[0].bytes_down = 1000;
  now.flows.push_back(flow(2, "192.0.2.2:443"));
  now.flows[1].bytes_up = 300;  // in a hundred seconds
  const auto rows = to_rows(before, now);
  ASSERT_EQ(2u, rows.size());
  EXPECT_EQ(2000u, rows[0].rate_down);
  EXPECT_EQ(0u, rows[0].rate_up);
  EXPECT_EQ(3u, rows[1].rate_up);
}

std::string order(FlowSort by) {
  std::vector<FlowRow> rows(3);
  rows[0].flow = flow(1, "192.0.2.9:1");
  rows[1].flow = flow(2, "192.0.2.10:1");
  rows[2].flow = flow(3, "192.0.2.9:2");
  rows[0].flow.bytes_up = 5;
  rows[1].flow.bytes_down = 9;
  rows[1].flow.age = seconds(200);
  rows[2].flow.idle = seconds(50);
  rows[2].rate_up = 1;
  rows[0].owner = FlowOwner{7, "zsh", 0, "root"};
  rows[1].owner = FlowOwner{0, "", 1000, "alice"};
  rows[2].owner = FlowOwner{9, "curl", 0, "root"};
  sort_rows(rows, by);
  std::string text;
  for (const auto& row : rows) text += std::to_string(row.flow.id - connect::first_flow_id(2));
  return text;
}

TEST(FlowsView, SortsByWhatIsAskedFor) {
  EXPECT_EQ("312", order(FlowSort::Rate));
  EXPECT_EQ("213", order(FlowSort::Bytes));
  EXPECT_EQ("123", order(FlowSort::Up));
  EXPECT_EQ("213", order(FlowSort::Down));
  EXPECT_EQ("213", order(FlowSort::Age));
  EXPECT_EQ("312", order(FlowSort::Idle));
  EXPECT_EQ("132", order(FlowSort::Target));
  EXPECT_EQ("321", order(FlowSort::Application));
  EXPECT_EQ("123", order(FlowSort::Id));
  EXPECT_FALSE(flow_sort_from("size").has_value());
  for (const char* word :
       {"rate", "bytes", "up", "down", "age", "idle", "target", "application", "id"}) {
    EXPECT_TRUE(flow_sort_from(word).has_value()) << word;
    EXPECT_THAT(std::string(kFlowSorts), HasSubstr(word));
  }
}

TEST(FlowsView, IsATable) {
  FlowList list;
  list.open = 2;
  list.complete = false;
  FlowRow row;
  row.flow = flow(0, "192.0.2.1:443");
  row.flow.bytes_down = 2048;
  row.owner = FlowOwner{4711, "curl", 1000, "alice"};
  EXPECT_EQ(
      "ID   APPLICATION  TARGET         STATE         AGE   IDLE   UP     DOWN  RATE UP  RATE "
      "DOWN\n"
      "2.1  curl (4711)  192.0.2.1:443  open   1 min 40 s  1.5 s  0 B  2.0 KiB    0 B/s      0 "
      "B/s\n"
      "2 flows open; not all are shown, as a worker did not answer in time\n",
      flows_text(list, {row}));
  EXPECT_EQ("0 flows open\n", flows_text({}, {}));
  const std::string json = flows_json(list, {row}, 5);
  EXPECT_THAT(json, HasSubstr(R"("id": "2.1")"));
  EXPECT_THAT(json, HasSubstr(R"("idle": 1.5)"));
}

TEST(FlowOwner, ASocketIsFoundInItsProcess) {
  EXPECT_EQ(123u, socket_inode("socket:[123]").value());
  for (const char* link : {"", "socket:[]", "socket:[12", "socket:[1x]", "pipe:[12]", "[12]"}) {
    EXPECT_FALSE(socket_inode(link).has_value()) << link;
  }
  const UniqueFd mine(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  char link[64] = {};
  ASSERT_GT(::readlink(("/proc/self/fd/" + std::to_string(mine.get())).c_str(), link, 63), 0);
  const auto inode = socket_inode(link);
  ASSERT_TRUE(inode.has_value());
  const auto holders = find_holders({*inode});
  ASSERT_TRUE(holders.contains(*inode));
  EXPECT_EQ(::getpid(), holders.at(*inode));
}

}  // namespace
}  // namespace proxyvpn::app
