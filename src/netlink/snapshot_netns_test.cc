// What is read of the machine, against what iproute2 reads.
#include <algorithm>

#include "netlink/routing_test_fixture.h"

namespace proxyvpn::netlink {
namespace {

TEST_F(RoutingNetns, SnapshotSeesWhatIpSees) {
  text_of("ip link add dev br0 type bridge");
  text_of("ip link add dev eth0 type veth peer name peer0");
  text_of("ip link set dev peer0 master br0");
  text_of("ip link add dev mac0 link eth0 type macvlan");
  text_of("ip address add 192.0.2.5/24 dev eth0");
  text_of("ip -6 address add 2001:db8::5/64 dev eth0 nodad");
  for (const char* name : {"eth0", "peer0", "br0"})
    text_of(std::string("ip link set up dev ") + name);
  apply(whole_plan());
  auto snapshot = routing_->snapshot();
  ASSERT_TRUE(ok(snapshot));
  EXPECT_FALSE(snapshot->has_default_route_v4);  // ours doesn't count
  EXPECT_FALSE(snapshot->has_default_route_v6);
  EXPECT_TRUE(snapshot->has_ipv6);
  EXPECT_EQ((std::vector<std::uint32_t>{254, 255}), snapshot->tables_in_use);

  text_of("ip route add default via 192.0.2.1");
  text_of("ip -6 route add default via 2001:db8::1");
  text_of("ip route add blackhole 203.0.113.0/24 table 100");
  snapshot = routing_->snapshot();
  ASSERT_TRUE(ok(snapshot));
  EXPECT_TRUE(snapshot->has_default_route_v4);
  EXPECT_TRUE(snapshot->has_default_route_v6);
  EXPECT_EQ(1u, snapshot->default_route_links.size());  // eth0, once
  EXPECT_EQ((std::vector<std::uint32_t>{100, 254, 255}), snapshot->tables_in_use);

  const auto link = [&](const std::string& name) {
    for (const LinkInfo& one : snapshot->links)
      if (one.name == name) return one;
    ADD_FAILURE() << name << " is missing";
    return LinkInfo{};
  };
  EXPECT_TRUE(link("lo").loopback);
  EXPECT_EQ("", link("lo").kind);
  EXPECT_EQ("bridge", link("br0").kind);
  EXPECT_EQ("veth", link("eth0").kind);
  EXPECT_TRUE(link("eth0").up);
  EXPECT_FALSE(link("eth0").has_lower);
  EXPECT_EQ(0u, link("eth0").master);
  EXPECT_EQ(link("br0").index, link("peer0").master);
  EXPECT_TRUE(link("mac0").has_lower);
  EXPECT_FALSE(link("mac0").up);
  EXPECT_EQ("tun", link("tun0").kind);
  EXPECT_EQ(std::vector<std::uint32_t>{link("eth0").index}, snapshot->default_route_links);

  std::vector<std::string> addresses;
  for (const AddressInfo& one : snapshot->addresses)
    if (one.link == link("eth0").index && !one.cidr.address.is_link_local())
      addresses.push_back(to_string(one.cidr));
  EXPECT_EQ((std::vector<std::string>{"192.0.2.5/24", "2001:db8::5/64"}), addresses);
}

// What `ip` prints, line by line, with a space for a tab and none at the end.
std::vector<std::string> lines_of(const std::string& command) {
  std::vector<std::string> lines;
  std::string text = text_of(command);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    if (const auto tab = line.find('\t'); tab != std::string::npos) line[tab] = ' ';
    while (!line.empty() && line.back() == ' ') line.pop_back();
    lines.push_back(line);
    at = end + 1;
  }
  return lines;
}

TEST_F(RoutingNetns, RulesReadAsIpPrintsThem) {
  apply(whole_plan());
  for (const char* rule :
       {"from 192.0.2.0/24 to 198.51.100.7 lookup 77", "not from 192.0.2.1 lookup main",
        "iif lo lookup 77", "oif nosuch lookup 77", "tos 0x10 lookup 77", "fwmark 0x5 lookup 77",
        "fwmark 0x1/0x3 lookup main suppress_prefixlength 0", "uidrange 1000-2000 lookup 77",
        "ipproto tcp sport 80 dport 1000-2000 lookup 77", "ipproto udp lookup 77", "blackhole",
        "prohibit", "nop", "goto 32766", "lookup default suppress_ifgroup 5",
        "lookup 78 protocol static", "lookup 79 realms 3/4"})
    text_of(std::string("ip rule add ") + rule);
  for (const char* rule : {"from 2001:db8::/32 lookup 77", "to 2001:db8::1 unreachable",
                           "ipproto ipv6-icmp lookup 77", "l3mdev"})
    text_of(std::string("ip -6 rule add ") + rule);
  const auto snapshot = routing_->snapshot();
  ASSERT_TRUE(ok(snapshot));
  EXPECT_EQ(lines_of("ip rule"), snapshot->rules);
  EXPECT_EQ(lines_of("ip -6 rule"), snapshot->rules_v6);
}

TEST_F(RoutingNetns, SnapshotSeesTablesBehindTheThousandRoutesThatItShows) {
  text_of("seq -f 'route add unreachable 10.9.9.9 table %.0f' 1000 3999 | ip -batch -");
  const auto snapshot = routing_->snapshot();
  ASSERT_TRUE(ok(snapshot));
  EXPECT_EQ(3001u, snapshot->tables_in_use.size());  // and local
}

TEST_F(RoutingNetns, SnapshotTellsWhetherANewLinkHasIpv6) {
  EXPECT_TRUE(routing_->snapshot()->ipv6_on_new_links);
  text_of("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
  EXPECT_FALSE(routing_->snapshot()->ipv6_on_new_links);
}

}  // namespace
}  // namespace proxyvpn::netlink
