#include "connect/flow_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace proxyvpn::connect {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

stack::FlowKey flow(std::uint16_t port) {
  return {{IpAddress::v4(0x0a000001), port}, {IpAddress::v4(0xcb007150), 443}};
}

struct FlowBookTest : ::testing::Test {
  std::unique_ptr<FlowBook> book = std::make_unique<FlowBook>();
};

TEST_F(FlowBookTest, OnlyEstablishedConnectionsAreTold) {
  book->add(0, flow(1));
  book->add(1, flow(2));
  EXPECT_THAT(book->open_flows(), IsEmpty());
  book->opened(1);
  EXPECT_THAT(book->open_flows(), ElementsAre(flow(2)));
}

TEST_F(FlowBookTest, AddressesOfBothFamiliesComeBackAsTheyWere) {
  const stack::FlowKey six{{IpAddress::parse("fd00::1").value(), 1},
                           {IpAddress::parse("2001:db8::80").value(), 65535}};
  book->add(0, six);
  book->opened(0);
  EXPECT_THAT(book->open_flows(), ElementsAre(six));
}

TEST_F(FlowBookTest, TheLastTakesThePlaceOfOneThatEnds) {
  for (std::uint16_t i = 0; i < 3; ++i) {
    book->add(i, flow(i));
    book->opened(i);
  }
  book->remove(0, 3);
  EXPECT_THAT(book->open_flows(), UnorderedElementsAre(flow(1), flow(2)));
  book->remove(1, 2);
  EXPECT_THAT(book->open_flows(), ElementsAre(flow(2)));
  book->remove(0, 1);
  EXPECT_THAT(book->open_flows(), IsEmpty());
}

TEST_F(FlowBookTest, ConnectionsBeyondItsSizeAreLeftOut) {
  for (std::size_t i = 0; i <= FlowBook::kMost; ++i) {
    book->add(i, flow(static_cast<std::uint16_t>(i)));
    book->opened(i);
  }
  EXPECT_THAT(book->open_flows(), SizeIs(FlowBook::kMost));
  book->remove(0, FlowBook::kMost + 1);
  EXPECT_THAT(book->open_flows(), SizeIs(FlowBook::kMost - 1));
}

}  // namespace
}  // namespace proxyvpn::connect
