// The monitor against the real kernel: what wakes us, and what must not.
#include <linux/rtnetlink.h>
#include <poll.h>

#include "netlink/routing_test_fixture.h"

namespace proxyvpn::netlink {
namespace {

class MonitorNetns : public NetnsTest {
 protected:
  void SetUp() override {
    NetnsTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    text_of("ip link add dev eth0 type veth peer name peer0");
    for (const char* name : {"eth0", "peer0"})
      text_of(std::string("ip link set dev ") + name + " addrgenmode none up");
    text_of("ip address add 192.0.2.5/24 dev eth0");
    settle();
    auto opened = open_monitor();
    ASSERT_TRUE(ok(opened));
    monitor_ = std::move(*opened);
    EXPECT_TRUE(sees_address("ip -6 address add 2001:db8::5/64 dev eth0 nodad"));
  }
  // The kernel tells of an IPv6 address from a work queue, behind the command's end.
  bool sees_address(const std::string& command) {
    text_of(command);
    pollfd wait{monitor_->fd(), POLLIN, 0};
    while (::poll(&wait, 1, 5000) > 0)
      if (monitor_->drain().addresses) return true;
    return false;
  }
  // The kernel tells of a new link's carrier later, up to a second.
  static void settle() {
    const std::string both = "ip -o link | grep -c 'state UP'";
    for (int attempt = 0; attempt < 100 && text_of(both + " || true") != "2\n"; ++attempt)
      ::poll(nullptr, 0, 50);
    EXPECT_EQ("2\n", text_of(both));
  }
  bool readable() {
    pollfd wait{monitor_->fd(), POLLIN, 0};
    return ::poll(&wait, 1, 0) > 0;
  }
  // The kernel has told everybody when the command ends.
  std::string changes_of(const std::string& command) {
    text_of(command);
    const bool woken = readable();
    const Monitor::Changes changes = monitor_->drain();
    EXPECT_FALSE(readable()) << "drained";
    std::string text = woken ? "woken" : "asleep";
    if (changes.links) text += " links";
    if (changes.addresses) text += " addresses";
    if (changes.routes) text += " routes";
    if (changes.rules) text += " rules";
    return text;
  }

  std::unique_ptr<Monitor> monitor_;
};

TEST_F(MonitorNetns, SeesRules) {
  EXPECT_EQ("woken rules", changes_of("ip rule add pref 200 fwmark 1 lookup 77"));
  EXPECT_EQ("woken rules", changes_of("ip rule del pref 200"));
  EXPECT_EQ("woken rules", changes_of("ip -6 rule add pref 200 fwmark 1 lookup 77"));
  EXPECT_EQ("woken rules", changes_of("ip -6 rule del pref 200"));
}

TEST_F(MonitorNetns, SeesDefaultRoutesAndOursAndSleepsThroughTheOthers) {
  EXPECT_EQ("woken routes", changes_of("ip route add default via 192.0.2.1"));
  EXPECT_EQ("woken routes", changes_of("ip route del default"));
  EXPECT_EQ("woken routes", changes_of("ip -6 route add default via 2001:db8::1"));
  EXPECT_EQ("woken routes", changes_of("ip route add unreachable default table 28790 proto 112"));
  EXPECT_EQ("woken routes", changes_of("ip route add unreachable 10.0.0.0/8 table 5 proto 112"));
  EXPECT_EQ("asleep", changes_of("ip route add 198.51.100.0/24 via 192.0.2.1"));
  EXPECT_EQ("asleep", changes_of("ip route del 198.51.100.0/24"));
  EXPECT_EQ("asleep", changes_of("ip -6 route add 2001:db8:9::/48 via 2001:db8::1"));
  EXPECT_EQ("asleep", changes_of("ip -6 route del 2001:db8:9::/48"));
}

TEST_F(MonitorNetns, SeesAddresses) {
  EXPECT_EQ("woken addresses", changes_of("ip address add 192.0.2.6/32 dev lo"));
  EXPECT_EQ("woken addresses", changes_of("ip address del 192.0.2.6/32 dev lo"));
  EXPECT_TRUE(sees_address("ip -6 address add 2001:db8:1::1/128 dev lo nodad"));
  EXPECT_TRUE(sees_address("ip -6 address del 2001:db8:1::1/128 dev lo"));
}

TEST_F(MonitorNetns, SeesLinksOnlyWhenTheyChange) {
  EXPECT_EQ("woken links", changes_of("ip link set dev lo mtu 9000"));
  // News of the link in which nothing that matters is new.
  EXPECT_EQ("woken", changes_of("ip link set dev lo alias same-as-ever"));
  EXPECT_EQ("woken", changes_of("ip link set dev lo txqueuelen 77"));
  const std::string down = changes_of("ip link set dev eth0 down");
  EXPECT_NE(std::string::npos, down.find("links")) << down;
  const std::string gone = changes_of("ip link del dev eth0");
  EXPECT_NE(std::string::npos, gone.find("links")) << gone;
}

TEST_F(MonitorNetns, AStormThatOverrunsTheSocketReportsEverything) {
  const int small = 0;  // the kernel's minimum
  ASSERT_EQ(0, ::setsockopt(monitor_->fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
  std::string batch;
  for (int i = 1000; i < 1400; ++i)
    batch += "rule add pref " + std::to_string(i) + " fwmark 1 lookup 77\\n";
  EXPECT_EQ("woken links addresses routes rules",
            changes_of("printf '" + batch + "' | ip -batch -"));
  EXPECT_EQ("woken rules", changes_of("ip rule del pref 1000"));  // and it goes on
}

TEST_F(MonitorNetns, ADrainEndsAndTheRestStaysReadable) {
  std::string batch;
  for (int i = 1000; i < 1600; ++i)
    batch += "rule add pref " + std::to_string(i) + " fwmark 1 lookup 77\\n";
  const int large = 4 << 20;
  ASSERT_EQ(0, ::setsockopt(monitor_->fd(), SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large));
  text_of("printf '" + batch + "' | ip -batch -");
  EXPECT_TRUE(monitor_->drain().rules);
  EXPECT_TRUE(readable());
  EXPECT_TRUE(monitor_->drain().rules);
  EXPECT_FALSE(readable());
  EXPECT_FALSE(monitor_->drain().rules);
}

}  // namespace
}  // namespace proxyvpn::netlink
