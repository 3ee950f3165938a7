#include "app/watch_screen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace proxyvpn::app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

WatchView example(std::size_t flows) {
  WatchView view;
  Status& status = view.status;
  status.state = RunState::Up;
  status.pid = 7;
  status.started = 1000;
  status.now = 1075;
  status.proxy_url = "http://alice@proxy.example:8080";
  status.proxy_in_use = parse_endpoint("192.0.2.10:8080").value();
  status.backend = "nftables";
  status.refused = {{"udp", 2, 80}};
  status.totals.flows_open = flows;
  status.rates = {0, 3 << 20, 5};
  for (unsigned i = 0; i < 60; ++i) status.history.push_back({0, i << 20, 0});
  view.flows.open = flows;
  for (std::size_t i = 0; i < flows; ++i) {
    FlowRow row;
    row.flow.id = connect::first_flow_id(1) + i;
    row.flow.destination = parse_endpoint("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535").value();
    row.flow.age = seconds(100);
    row.owner = FlowOwner{4711, "a-very-long-process\x1b[31m", 0, "root"};
    row.rate_down = 1000;
    view.rows.push_back(row);
  }
  return view;
}

std::vector<std::string> text(const std::vector<ScreenLine>& lines) {
  std::vector<std::string> result;
  for (const auto& line : lines) {
    std::string joined;
    for (const auto& span : line) joined += span.text;
    result.push_back(joined);
  }
  return result;
}

TEST(WatchScreen, NeverLeavesTheScreen) {
  for (const std::size_t flows : {0u, 3u, 5000u}) {
    const auto view = example(flows);
    for (unsigned width = 1; width <= 210; width += width < 30 ? 1 : 13) {
      for (unsigned height = 1; height <= 60; ++height) {
        const auto lines = draw(view, width, height);
        ASSERT_LE(lines.size(), height);
        ASSERT_FALSE(lines.empty());
        for (const auto& line : lines) {
          unsigned columns = 0;
          for (const auto& span : line) columns += span.columns;
          ASSERT_LE(columns, width) << width << "x" << height;
        }
      }
    }
  }
}

TEST(WatchScreen, ShowsStateRatesAndTheBusiestAt80x24) {
  const auto lines = text(draw(example(5000), 80, 24));
  ASSERT_EQ(24u, lines.size());
  EXPECT_EQ("Up  since 1 min 15 s", lines[0]);
  EXPECT_EQ("proxy       http://alice@proxy.example:8080 at 192.0.2.10:8080", lines[1]);
  EXPECT_THAT(lines[2], StartsWith("flows       5000 open"));
  EXPECT_THAT(lines[3], HasSubstr("udp 2"));
  EXPECT_THAT(lines[7], StartsWith("down     3.0 MiB/s "));
  EXPECT_THAT(lines[7], HasSubstr("█"));
  EXPECT_THAT(lines[8], StartsWith("up           0 B/s "));
  EXPECT_THAT(lines[10], StartsWith("ID      APPLICATION"));
  EXPECT_THAT(lines[11], StartsWith("1.1     a-very-long-pr"));
  EXPECT_THAT(lines[11], ::testing::EndsWith(" 0 B/s    1000 B/s"));
  EXPECT_EQ("q quit  s sort: rate  showing 12 of 5000 flows", lines[23]);
}

TEST(WatchScreen, AWideOneHasMoreColumnsAndHigherGraphs) {
  const auto lines = text(draw(example(5000), 200, 50));
  ASSERT_EQ(50u, lines.size());
  EXPECT_THAT(lines[16], HasSubstr("STATE"));
  EXPECT_THAT(lines[16], HasSubstr("IDLE"));
  EXPECT_THAT(lines[17], HasSubstr("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535 "));
  EXPECT_THAT(lines[7], StartsWith("max     59.0 MiB/s "));
}

TEST(WatchScreen, NothingOfAProcessNameReachesTheTerminalAsItIs) {
  for (const auto& line : text(draw(example(3), 200, 50))) {
    EXPECT_THAT(line, Not(HasSubstr("\x1b")));
  }
}

TEST(WatchScreen, WithoutADaemonThereIsTheState) {
  WatchView view;
  view.status.state = RunState::Crashed;
  view.status.detail = "`proxyvpn up` takes over";
  const auto lines = text(draw(view, 80, 24));
  EXPECT_EQ("Crashed (shut)  `proxyvpn up` takes over", lines[0]);
  EXPECT_EQ("q quit  s sort: rate", lines[23]);
}

TEST(Sparkline, IsAsHighAsItsHighestValue) {
  EXPECT_THAT(sparkline({0, 1, 4, 8}, 6, 1, true), ElementsAre("   ▁▄█"));
  EXPECT_THAT(sparkline({0, 8, 16}, 3, 2, true), ElementsAre("  █", " ██"));
  EXPECT_THAT(sparkline({1, 2, 3}, 2, 1, false), ElementsAre("+#"));
  EXPECT_THAT(sparkline({0, 0}, 2, 1, true), ElementsAre("  "));
  EXPECT_THAT(sparkline({}, 3, 2, true), ElementsAre("   ", "   "));
  EXPECT_THAT(sparkline({1, 1000}, 2, 1, true), ElementsAre("▁█"));
}

}  // namespace
}  // namespace proxyvpn::app
