#include "connect/flow_info.h"

#include <gtest/gtest.h>

namespace proxyvpn::connect {
namespace {

TEST(FlowId, IsWrittenAndReadAsLifeAndSerial) {
  EXPECT_EQ("3.1", flow_id_text(first_flow_id(3)));
  EXPECT_EQ(3u, life_of(first_flow_id(3)));
  for (const std::uint64_t id : {std::uint64_t{0}, first_flow_id(1), first_flow_id(1) + 1244,
                                 first_flow_id(70000) + 5, ~std::uint64_t{0}}) {
    EXPECT_EQ(id, parse_flow_id(flow_id_text(id)).value()) << flow_id_text(id);
  }
}

TEST(FlowId, IsReadInOneFormOnly) {
  for (const char* text :
       {"", ".", "1", "1.", ".1", "1.2.3", "01.2", "1.02", "-1.2", "1.-2", "1.+2", "1. 2", "1.2 ",
        "x.1", "16777216.1", "1.1099511627776", "1.99999999999999999999"}) {
    EXPECT_FALSE(parse_flow_id(text).has_value()) << text;
  }
  EXPECT_TRUE(parse_flow_id("16777215.1099511627775").has_value());
}

}  // namespace
}  // namespace proxyvpn::connect
