#include "netlink/sock_diag.h"

#include <gtest/gtest.h>

namespace proxyvpn::netlink {
namespace {

TcpSocket connection(const std::string& local, const std::string& remote) {
  TcpSocket socket;
  socket.local = *parse_endpoint(local);
  socket.remote = *parse_endpoint(remote);
  return socket;
}

Endpoint any_v4(std::uint16_t port) { return {*IpAddress::parse("0.0.0.0"), port}; }
Endpoint any_v6(std::uint16_t port) { return {*IpAddress::parse("::"), port}; }

std::vector<std::string> locals(const std::vector<TcpSocket>& sockets) {
  std::vector<std::string> texts;
  for (const TcpSocket& socket : sockets) texts.push_back(to_string(socket.local));
  return texts;
}

using Texts = std::vector<std::string>;

TEST(Inbound, IsWhatAListenerOfTheSameAddressAndPortAccepted) {
  const std::vector<TcpSocket> connected = {
      connection("192.0.2.5:22", "198.51.100.9:51000"),
      connection("192.0.2.6:22", "198.51.100.9:51001"),
      connection("192.0.2.5:40000", "198.51.100.9:22"),
  };
  EXPECT_EQ((Texts{"192.0.2.5:22"}), locals(inbound(connected, {*parse_endpoint("192.0.2.5:22")})));
}

TEST(Inbound, AnUnspecifiedListenerTakesEveryAddressOfItsFamily) {
  const std::vector<TcpSocket> connected = {
      connection("192.0.2.5:22", "198.51.100.9:51000"),
      connection("[2001:db8::5]:22", "[2001:db8::9]:51000"),
      connection("192.0.2.5:23", "198.51.100.9:51000"),
  };
  EXPECT_EQ((Texts{"192.0.2.5:22"}), locals(inbound(connected, {any_v4(22)})));
  EXPECT_EQ((Texts{"[2001:db8::5]:22"}), locals(inbound(connected, {any_v6(22)})));
  EXPECT_EQ((Texts{"192.0.2.5:22", "[2001:db8::5]:22"}),
            locals(inbound(connected, {any_v4(22), any_v6(22)})));
}

TEST(Inbound, NothingListensNothingCameIn) {
  EXPECT_TRUE(inbound({connection("192.0.2.5:22", "198.51.100.9:51000")}, {}).empty());
  EXPECT_TRUE(inbound({}, {any_v4(22)}).empty());
}

// 200,000 by 60,000: a comparison of each with each would not end within the test's time.
TEST(Inbound, GrowsInLineWithWhatItIsGiven) {
  std::vector<TcpSocket> connected(200'000);
  for (std::uint32_t i = 0; i < connected.size(); ++i) {
    connected[i].local = {IpAddress::v4(0x0a000000 + i), 8080};
    connected[i].remote = {IpAddress::v4(0xc6336401), 443};
  }
  std::vector<Endpoint> listeners;
  for (std::uint32_t i = 0; i < 60'000; ++i)
    listeners.push_back({IpAddress::v4(0x0a000000 + 2 * i), 8080});
  EXPECT_EQ(60'000u, inbound(connected, listeners).size());
}

}  // namespace
}  // namespace proxyvpn::netlink
