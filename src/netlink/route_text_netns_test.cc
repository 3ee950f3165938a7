// The routes of a snapshot, against what iproute2 prints.
#include <sstream>

#include "netlink/routing_test_fixture.h"

namespace proxyvpn::netlink {
namespace {

constexpr const char* kTwoHops =
    "203.0.113.64/26 table 77 nexthop via 192.0.2.1 dev eth0 weight 2 nexthop via 192.0.2.2 "
    "dev eth0";

// The lines of `ip route` that name a table by number, with the lines of their next hops joined.
void append_foreign(std::vector<std::string>& out, const std::string& listing) {
  std::istringstream lines(listing);
  bool keep = false;
  for (std::string line; std::getline(lines, line);) {
    const bool hop = line.starts_with('\t');
    if (!hop) {
      const auto table = line.find(" table ");
      keep = table != std::string::npos && line.compare(table + 7, 5, "local") != 0;
    }
    if (!keep) continue;
    for (auto& c : line)
      if (c == '\t') c = ' ';
    while (!line.empty() && line.back() == ' ') line.pop_back();
    if (hop) {
      out.back() += line;
    } else {
      // iproute2 puts two spaces in some places.
      for (auto at = line.find("  "); at != std::string::npos; at = line.find("  "))
        line.erase(at, 1);
      out.push_back(line);
    }
  }
}

TEST_F(RoutingNetns, RoutesOfOtherTablesReadAsIpPrintsThem) {
  text_of("ip link add dev eth0 type veth peer name peer0");
  text_of("ip address add 192.0.2.5/24 dev eth0");
  text_of("ip -6 address add 2001:db8::5/64 dev eth0 nodad");
  for (const char* name : {"eth0", "peer0"}) text_of(std::string("ip link set up dev ") + name);
  apply(whole_plan());
  for (const char* route :
       {"default via 192.0.2.1 dev eth0 table 77 proto static metric 5",
        "198.51.100.0/24 dev eth0 scope link src 192.0.2.5 table 77",
        "198.51.100.7 via 192.0.2.1 onlink dev eth0 table 1000 proto dhcp",
        "198.51.100.8 via inet6 2001:db8::1 dev eth0 table 77", "blackhole 203.0.113.0/24 table 77",
        "prohibit 203.0.113.5 table 77", "throw 203.0.113.6 table 77 proto 200", kTwoHops})
    text_of(std::string("ip route add ") + route);
  for (const char* route : {"default via 2001:db8::1 dev eth0 table 77 pref high",
                            "unreachable 2001:db8:1::/48 table 77",
                            "2001:db8:2::/48 from 2001:db8::/64 dev eth0 table 77"})
    text_of(std::string("ip -6 route add ") + route);

  const auto snapshot = routing_->snapshot();
  ASSERT_TRUE(ok(snapshot));
  std::vector<std::string> expected;
  append_foreign(expected, text_of("ip route show table all"));  // both families
  ASSERT_GE(expected.size(), 14U);                               // ours: two per family
  EXPECT_EQ(expected, snapshot->routes);
}

TEST_F(RoutingNetns, NumberOfRoutesInASnapshotIsBounded) {
  text_of("ip link set up dev lo");
  std::string batch;
  for (int i = 0; i < 1200; ++i)
    batch += "route add 10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256) +
             " dev lo table 77\\n";
  text_of("printf '" + batch + "' | ip -batch -");
  const auto snapshot = routing_->snapshot();
  ASSERT_TRUE(ok(snapshot));
  EXPECT_EQ(1000U, snapshot->routes.size());
}

}  // namespace
}  // namespace proxyvpn::netlink
