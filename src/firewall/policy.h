#pragma once
// What the firewall shall let through, as a value. app/plan fills it; build_ruleset() makes rules
// of it.
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"

namespace proxyvpn::firewall {

// Bits that we own in packet and connection marks. The bits outside `mask` belong to others and are
// kept. Not used by docker, Kubernetes, Cilium, tailscale, wg-quick, sing-box or Mullvad by
// default.
struct Marks {
  std::uint32_t mask = 0x30000000;
  std::uint32_t capture = 0x10000000;  // goes into the TUN
  std::uint32_t bypass = 0x20000000;  // our own connection to the proxy (SO_MARK), or an exempt one
  std::uint32_t inbound = 0x30000000;  // connection mark only: came in from outside
  friend bool operator==(const Marks&, const Marks&) = default;
};

// One connection that was there before us and shall go on (an ssh session into this machine).
struct KeepFlow {
  Endpoint local;
  Endpoint remote;
  friend auto operator<=>(const KeepFlow&, const KeepFlow&) = default;
};

enum class Mode : std::uint8_t {
  Open,     // --no-killswitch: marks only, in a table that goes with its owner
  Guarded,  // marks and killswitch
  Shut,     // killswitch without marks: every new connection is refused at once (lockdown, boot)
};

// The programs of `exec --direct`: a group of processes (cgroup v2) right below the root. Only root
// may put a process there; children stay in it.
struct DirectCgroup {
  std::string name;
  std::uint64_t id = 0;  // the kernel's: the inode number of its directory
  friend bool operator==(const DirectCgroup&, const DirectCgroup&) = default;
};

struct Policy {
  std::string table = "proxyvpn";  // inet, arp and netdev table of this name
  Mode mode = Mode::Guarded;
  Marks marks{};
  std::string tun_name = "tun0";
  std::vector<IpAddress> tun_addresses;  // must not be reachable from outside (CVE-2019-14899)
  uid_t daemon_uid = 0;  // bypass needs mark and this uid and a proxy endpoint and TCP
  std::vector<Endpoint> proxies;
  std::vector<IpAddress> resolvers;  // port 53, UDP and TCP, go direct
  std::vector<Cidr> direct;          // --exclude and --allow-lan; DNS to them is still refused
  std::vector<uid_t> exempt_uids;  // --exempt-user: their TCP goes direct (a proxy on this machine)
  // Whatever these send goes direct, all protocols, DNS to any resolver. Not in Mode::Shut.
  std::optional<DirectCgroup> direct_cgroup;
  std::vector<std::string>
      inside_links;  // bridges without a physical port: host<->container direct
  std::vector<Cidr> inside_networks;
  std::vector<KeepFlow> keep;
  // --egress-guard: netdev egress chain on these. A link that is the port of a bridge belongs in
  // guarded_ports: frames that the machine itself sends through the bridge carry no route there.
  std::vector<std::string> guarded_uplinks;
  std::vector<std::string> guarded_ports;
  friend bool operator==(const Policy&, const Policy&) = default;
};

}  // namespace proxyvpn::firewall
