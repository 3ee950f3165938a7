#include "connect/proxy_sockets.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

namespace proxyvpn::connect {
namespace {

std::string source_of(const UniqueFd& fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  EXPECT_EQ(::getsockname(fd.get(), address, &length), 0);
  return to_string(*from_sockaddr(address, length));
}

std::vector<IpAddress> local_addresses(const std::vector<const char*>& texts) {
  std::vector<IpAddress> out;
  for (const char* text : texts) out.push_back(*IpAddress::parse(text));
  return out;
}

TEST(ProxySockets, TheKernelChoosesWhereNothingIsSaid) {
  ProxySockets sockets;
  EXPECT_EQ(source_of(sockets.make(Family::V4)), "0.0.0.0:0");
}

TEST(ProxySockets, AddressesTakeTurnsAndThePortComesLater) {
  ProxySockets sockets(local_addresses({"127.0.0.2", "::1", "127.0.0.3"}));
  EXPECT_EQ(source_of(sockets.make(Family::V4)), "127.0.0.2:0");
  EXPECT_EQ(source_of(sockets.make(Family::V4)), "127.0.0.3:0");
  EXPECT_EQ(source_of(sockets.make(Family::V4)), "127.0.0.2:0");
}

TEST(ProxySockets, AnAddressThatIsNotThereIsPassedOver) {
  ProxySockets sockets(local_addresses({"192.0.2.77", "127.0.0.2"}));
  EXPECT_EQ(source_of(sockets.make(Family::V4)), "127.0.0.2:0");
  EXPECT_EQ(source_of(sockets.make(Family::V4)), "127.0.0.2:0");
  ProxySockets none(local_addresses({"192.0.2.77"}));
  EXPECT_EQ(source_of(none.make(Family::V4)), "0.0.0.0:0");
}

}  // namespace
}  // namespace proxyvpn::connect
