#include "app/preflight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "testing/addresses.h"

namespace proxyvpn::app {
namespace {

using proxyvpn::testing::cidr;
using proxyvpn::testing::ip;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Config good_config() {
  Config config;
  config.proxy.host = "proxy.example";
  config.proxy.port = 3128;
  config.tun_cidr = cidr("10.255.255.1/30");
  config.tun_cidr6 = cidr("fd70:7278:7976::1/126");
  return config;
}

// A machine on which everything is as it should be.
HostFacts good_facts() {
  HostFacts facts;
  facts.capability.permitted = true;
  facts.capability.euid = 1000;
  facts.kernel = {6, 1};
  netlink::LinkInfo lo;
  lo.index = 1;
  lo.name = "lo";
  lo.loopback = true;
  netlink::LinkInfo eth0;
  eth0.index = 2;
  eth0.name = "eth0";
  facts.network.links = {lo, eth0};
  facts.network.addresses = {{1, cidr("127.0.0.1/8")}, {2, cidr("192.0.2.5/24")}};
  facts.network.has_ipv6 = true;
  facts.network.ipv6_on_new_links = true;
  facts.network.rules = {"0: from all lookup local", "32766: from all lookup main"};
  facts.network.tables_in_use = {254, 255};
  facts.network.default_route_links = {2};
  facts.firewall_name = "nftables";
  facts.resolvers.servers = {ip("192.0.2.53")};
  facts.resolvers.upstreams_known = true;
  facts.descriptors_hard = 524288;
  return facts;
}

TEST(Preflight, AMachineInOrderHasNothingToComplainAbout) {
  const auto findings = preflight(good_config(), good_facts());
  EXPECT_THAT(findings.errors, IsEmpty());
  EXPECT_THAT(findings.warnings, IsEmpty());
}

struct PreflightCase {
  const char* name;
  std::function<void(Config&, HostFacts&)> spoil;
  std::vector<const char*> sentence;  // all of them in the one finding
};

void add_link(HostFacts& facts, const char* name, const char* kind, std::uint32_t master = 0) {
  netlink::LinkInfo link;
  link.index = static_cast<std::uint32_t>(facts.network.links.size()) + 1;
  link.name = name;
  link.kind = kind;
  link.master = master;
  facts.network.links.push_back(link);
}

const std::vector<PreflightCase>& error_cases() {
  static const std::vector<PreflightCase> cases{
      {"no capability",
       [](Config&, HostFacts& f) {
         f.capability.permitted = false;
         f.capability.executable = "/usr/local/bin/proxyvpn";
         // Follows from it, and must not be told as well.
         f.firewall_error = Error{Code::Permission, EPERM, "netlink: Operation not permitted"};
       },
       {"CAP_NET_ADMIN", "setcap cap_net_admin=eip /usr/local/bin/proxyvpn"}},
      {"no TUN node",
       [](Config&, HostFacts& f) {
         f.tun_node = {TunNode::State::Missing, ENOENT, 0, 0, 0};
       },
       {"no /dev/net/tun", "modprobe tun", "--device /dev/net/tun"}},
      {"TUN node closed",
       [](Config&, HostFacts& f) {
         f.tun_node = {TunNode::State::NoAccess, EACCES, 0600, 0, 0};
       },
       {"user 1000", "mode is 0600", "chmod 0666 /dev/net/tun"}},
      {"TUN node forbidden by the device cgroup",
       [](Config&, HostFacts& f) {
         f.tun_node = {TunNode::State::NoAccess, EPERM, 0666, 0, 0};
       },
       {"mode is 0666", "device list"}},
      {"no TUN driver",
       [](Config&, HostFacts& f) {
         f.tun_node = {TunNode::State::NoDriver, ENODEV, 0666, 0, 0};
       },
       {"no driver", "CONFIG_TUN"}},
      {"TUN node broken",
       [](Config&, HostFacts& f) {
         f.tun_node = {TunNode::State::Failed, EIO, 0666, 0, 0};
       },
       {"/dev/net/tun cannot be opened: Input/output error"}},
      {"no packet filter",
       [](Config&, HostFacts& f) {
         f.firewall_error = Error{Code::Unsupported, 0, "the kernel has no nf_tables"};
       },
       {"no packet filter can be used: the kernel has no nf_tables", "modprobe nf_tables"}},
      {"another instance by its lock",
       [](Config&, HostFacts& f) {
         f.other_instance = 4711;
         f.firewall_presence = firewall::Presence::Owned;
       },
       {"another proxyvpn is running (process 4711)", "proxyvpn down"}},
      {"another instance by its table",
       [](Config&, HostFacts& f) { f.firewall_presence = firewall::Presence::Owned; },
       {"another proxyvpn is running in this network namespace", "proxyvpn down"}},
      {"another instance with the same device",
       [](Config&, HostFacts& f) {
         f.other_instance = 4711;
         add_link(f, "tun0", "tun");
       },
       {"another proxyvpn is running (process 4711)", "proxyvpn down"}},
      {"the network cannot be read",
       [](Config&, HostFacts& f) {
         f.network_error = Error{Code::System, EIO, "netlink broke"};
       },
       {"netlink broke"}},
      {"the name is taken",
       [](Config&, HostFacts& f) {
         add_link(f, "tun0", "tun");
         add_link(f, "tun1", "tun");
       },
       {"'tun0' (tun)", "--tun-name tun2"}},
      {"the network is taken",
       [](Config&, HostFacts& f) {
         f.network.addresses.push_back({2, cidr("10.1.2.3/8")});
       },
       {"--tun-cidr 10.255.255.1/30 overlaps 10.0.0.0/8 of eth0", "--tun-cidr 172.31.255.1/30"}},
      {"the IPv6 network is taken",
       [](Config&, HostFacts& f) {
         f.network.addresses.push_back({2, cidr("fd70:7278:7976::9/64")});
       },
       {"--tun-cidr6 fd70:7278:7976::1/126 overlaps", "fd70:7278:7977::1/126"}},
      {"the table is in use",
       [](Config&, HostFacts& f) {
         f.network.tables_in_use = {254, 255, 28790};
       },
       {"route table 28790", "--route-table"}},
      {"the table behind it is in use",
       [](Config&, HostFacts& f) {
         f.network.tables_in_use = {254, 255, 28791};
       },
       {"route table 28791, the one behind --route-table,", "--route-table"}},
      {"the resolvers cannot be read",
       [](Config&, HostFacts& f) {
         f.resolvers_error = Error{Code::Permission, EACCES, "/etc/resolv.conf: denied"};
       },
       {"/etc/resolv.conf: denied", "--dns"}},
      {"a resolver within the TUN",
       [](Config&, HostFacts& f) { f.resolvers.servers.push_back(ip("10.255.255.2")); },
       {"resolver 10.255.255.2", "--tun-cidr"}},
      {"no egress hook",
       [](Config& c, HostFacts& f) {
         c.egress_guard = true;
         f.kernel = {5, 10};
       },
       {"--egress-guard needs Linux 5.16", "5.10"}},
  };
  return cases;
}

TEST(Preflight, EveryFaultHasItsOwnSentence) {
  for (const auto& item : error_cases()) {
    auto config = good_config();
    auto facts = good_facts();
    item.spoil(config, facts);
    const auto findings = preflight(config, facts);
    ASSERT_EQ(findings.errors.size(), 1u) << item.name;
    for (const auto* text : item.sentence) {
      EXPECT_THAT(findings.errors.front(), HasSubstr(text)) << item.name;
    }
  }
}

TEST(Preflight, WhatIsOddIsAWarning) {
  const std::vector<PreflightCase> cases{
      {"few descriptors", [](Config&, HostFacts& f) { f.descriptors_hard = 1024; }, {"1024"}},
      {"public TUN network",
       [](Config& c, HostFacts&) { c.tun_cidr = cidr("198.51.100.1/30"); },
       {"198.51.100.1/30 is not a private network"}},
      {"IPv6 off",
       [](Config&, HostFacts& f) { f.network.ipv6_on_new_links = false; },
       {"disable_ipv6=1", "refused, not proxied"}},
      {"a rule before ours",
       [](Config&, HostFacts& f) { f.network.rules.push_back("100: from all lookup 77"); },
       {"IPv4 policy rule '100: from all lookup 77'", "--rule-priority"}},
      {"a mark of ours",
       [](Config&, HostFacts& f) {
         f.network.rules_v6.push_back("5000: from all fwmark 0x10000000/0x10000000 lookup 7");
       },
       {"IPv6 policy rule", "--mark-mask"}},
      {"macvlan",
       [](Config&, HostFacts& f) { add_link(f, "mac0", "macvlan"); },
       {"mac0", "--egress-guard"}},
      {"stub resolver",
       [](Config&, HostFacts& f) {
         f.resolvers = {};
         f.resolvers.only_loopback_stub = true;
         f.resolvers.notes = {"nobody knows whom 127.0.0.53 asks; pass --dns"};
       },
       {"127.0.0.53", "--dns"}},
      {"no resolver",
       [](Config&, HostFacts& f) {
         f.resolvers.servers.clear();
         f.resolvers.upstreams_known = true;
       },
       {"no resolver is known", "--dns"}},
      {"resolvers that nobody asks",
       [](Config& c, HostFacts&) { c.dns = {ip("8.8.8.8")}; },
       {"asks 192.0.2.53", "--allow-dns 192.0.2.53"}},
  };
  for (const auto& item : cases) {
    auto config = good_config();
    auto facts = good_facts();
    item.spoil(config, facts);
    const auto findings = preflight(config, facts);
    EXPECT_THAT(findings.errors, IsEmpty()) << item.name;
    ASSERT_EQ(findings.warnings.size(), 1u) << item.name;
    for (const auto* text : item.sentence) {
      EXPECT_THAT(findings.warnings.front(), HasSubstr(text)) << item.name;
    }
  }
}

TEST(Preflight, WhatIsNoFaultIsNotTold) {
  const std::vector<PreflightCase> cases{
      {"a crashed run's table",
       [](Config&, HostFacts& f) { f.firewall_presence = firewall::Presence::Orphan; },
       {}},
      {"rules of our own",
       [](Config&, HostFacts& f) {
         f.network.rules.push_back(
             "200: from all fwmark 0x10000000/0x30000000 lookup 28790 proto 112");
       },
       {}},
      {"wg-quick's rule",
       [](Config&, HostFacts& f) {
         f.network.rules.push_back("32765: not from all fwmark 0xca6c lookup 51820");
       },
       {}},
      {"no IPv6 in the kernel", [](Config&, HostFacts& f) { f.network.has_ipv6 = false; }, {}},
      {"no IPv6 wanted",
       [](Config& c, HostFacts& f) {
         c.tun_cidr6.reset();
         f.network.ipv6_on_new_links = false;
       },
       {}},
      {"names without the killswitch",
       [](Config& c, HostFacts& f) {
         c.killswitch = false;
         f.resolvers = {};
       },
       {}},
      {"given resolvers among the system's",
       [](Config& c, HostFacts&) {
         c.dns = {ip("8.8.8.8"), ip("192.0.2.53")};
       },
       {}},
      {"guests with the guard",
       [](Config& c, HostFacts& f) {
         c.egress_guard = true;
         add_link(f, "mac0", "macvlan");
       },
       {}},
      {"docker",
       [](Config&, HostFacts& f) {
         add_link(f, "docker0", "bridge");
         add_link(f, "veth0", "veth", 3);
       },
       {}},
  };
  for (const auto& item : cases) {
    auto config = good_config();
    auto facts = good_facts();
    item.spoil(config, facts);
    const auto findings = preflight(config, facts);
    EXPECT_THAT(findings.errors, IsEmpty()) << item.name;
    EXPECT_THAT(findings.warnings, IsEmpty()) << item.name;
  }
}

TEST(Preflight, ADryRunNeedsNoPrivilege) {
  auto config = good_config();
  config.dry_run = true;
  auto facts = good_facts();
  facts.capability.permitted = false;
  facts.tun_node.state = TunNode::State::Missing;
  facts.firewall_presence = firewall::Presence::Owned;
  const auto findings = preflight(config, facts);
  EXPECT_THAT(findings.errors, IsEmpty());
  EXPECT_EQ(findings.warnings.size(), 3u);
}

TEST(CheckProxies, NamesAddressesThatCannotWork) {
  const auto config = good_config();
  const auto facts = good_facts();
  EXPECT_THAT(check_proxies(config, facts, {{ip("192.0.2.10"), 3128}}).errors, IsEmpty());
  EXPECT_THAT(check_proxies(config, facts, {}).errors,
              ElementsAre(AllOf(HasSubstr("proxy.example"), HasSubstr("--proxy-ip"))));
  EXPECT_THAT(check_proxies(config, facts, {{ip("10.255.255.2"), 1}}).errors,
              ElementsAre(HasSubstr("10.255.255.2 lies within")));
  EXPECT_THAT(check_proxies(config, facts, {{ip("0.0.0.0"), 1}}).errors,
              ElementsAre(HasSubstr("not that of one machine")));
}

TEST(CheckProxies, AProxyOnThisMachineNeedsAnExemptUser) {
  auto config = good_config();
  const auto facts = good_facts();
  for (const auto* address : {"127.0.0.1", "::1", "192.0.2.5"}) {
    EXPECT_THAT(check_proxies(config, facts, {{ip(address), 3128}}).warnings,
                ElementsAre(HasSubstr("--exempt-user")));
  }
  config.exempt_users = {13};
  EXPECT_THAT(check_proxies(config, facts, {{ip("127.0.0.1"), 3128}}).warnings, IsEmpty());
}

TEST(TunNodeTest, SaysWhyANodeCannotBeUsed) {
  EXPECT_EQ(read_tun_node("/nonexistent/tun").state, TunNode::State::Missing);
  EXPECT_EQ(read_tun_node("/dev/null").state, TunNode::State::Usable);
  EXPECT_EQ(read_tun_node("/").state, TunNode::State::Failed);  // a directory: EISDIR
  std::string path = "/tmp/proxyvpn-node-XXXXXX";
  const int fd = ::mkstemp(path.data());
  ASSERT_GE(fd, 0);
  ::fchmod(fd, 0);
  ::close(fd);
  const auto node = read_tun_node(path.c_str());
  ::unlink(path.c_str());
  EXPECT_EQ(node.mode, 0u);
  EXPECT_EQ(node.state, ::geteuid() == 0 ? TunNode::State::Usable : TunNode::State::NoAccess);
}

TEST(KernelVersionTest, IsReadFromTheRelease) {
  EXPECT_EQ(parse_kernel_version("6.18.44-fc"), (KernelVersion{6, 18}));
  EXPECT_EQ(parse_kernel_version("5.10"), (KernelVersion{5, 10}));
  EXPECT_EQ(parse_kernel_version("weird"), KernelVersion{});
}

// Whatever this machine is like: it must be readable, and reading must not need a privilege.
TEST(HostFactsTest, AreReadWithoutAnError) {
  const auto facts = read_host_facts(good_config());
  EXPECT_FALSE(facts.network_error) << facts.network_error->message;
  EXPECT_FALSE(facts.network.links.empty());
  EXPECT_GT(facts.kernel.major, 0u);
  EXPECT_GT(facts.descriptors_hard, 0u);
  EXPECT_EQ(facts.capability.euid, ::geteuid());
}

}  // namespace
}  // namespace proxyvpn::app
