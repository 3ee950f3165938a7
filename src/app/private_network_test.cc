#include "app/private_network.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace proxyvpn::app {
namespace {

TEST(IdentityMap, MapsEveryIdThatIsThereToItself) {
  EXPECT_EQ(identity_map("         0          0 4294967295\n"), "0 0 4294967295\n");
  // Inside a container: what is 0 here is 100000 outside, which is none of the inner map's.
  EXPECT_EQ(identity_map("0 100000 65536\n65536 0 1\n"), "0 0 65536\n65536 65536 1\n");
  EXPECT_EQ(identity_map(""), "");
}

TEST(ExplainNamespaces, NamesTheSettingToChange) {
  NamespaceSettings debian;
  debian.unprivileged_clone = "0";
  EXPECT_NE(explain_namespaces(EPERM, debian).find("sysctl -w kernel.unprivileged_userns_clone=1"),
            std::string::npos);
  NamespaceSettings none;
  none.max_user = "0";
  EXPECT_NE(explain_namespaces(ENOSPC, none).find("sysctl -w user.max_user_namespaces=10000"),
            std::string::npos);
  NamespaceSettings no_net;
  no_net.max_net = "0";
  EXPECT_NE(explain_namespaces(ENOSPC, no_net).find("user.max_net_namespaces"), std::string::npos);
  NamespaceSettings ubuntu;
  ubuntu.apparmor = "1";
  EXPECT_NE(explain_namespaces(EACCES, ubuntu).find("AppArmor"), std::string::npos);
  EXPECT_NE(explain_namespaces(ENOSPC, {}).find("user.max_*_namespaces"), std::string::npos);
  EXPECT_NE(explain_namespaces(EPERM, {}).find("seccomp"), std::string::npos);
}

TEST(PrivateAddresses, TheServerIsOnTheTunsNetworkAndStandInsAreNot) {
  const PrivateAddresses addresses;
  EXPECT_TRUE(addresses.tun_v4.contains(addresses.dns_v4));
  EXPECT_NE(addresses.tun_v4.address, addresses.dns_v4);
  const auto last = IpAddress::v4(addresses.stand_ins.v4_host_order() +
                                  static_cast<std::uint32_t>(addresses.stand_in_count) - 1);
  EXPECT_EQ(to_string(addresses.stand_ins), "198.18.0.1");
  EXPECT_EQ(to_string(last), "198.18.255.254");
  EXPECT_FALSE(addresses.tun_v4.contains(last));
}

}  // namespace
}  // namespace proxyvpn::app
