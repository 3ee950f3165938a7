#pragma once
// What the machine is like before anything is changed, as one value: preflight and plan decide from
// it and touch nothing, so that every case can be a test.
#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "app/capabilities.h"
#include "app/config.h"
#include "base/error.h"
#include "dns/resolv_conf.h"
#include "firewall/firewall.h"
#include "netlink/routing.h"

namespace proxyvpn::app {

// /dev/net/tun
struct TunNode {
  enum class State : std::uint8_t {
    Usable,
    Missing,   // ENOENT: no such node
    NoAccess,  // EACCES, EPERM: its mode, or the device cgroup
    NoDriver,  // ENXIO, ENODEV: the node is there, the kernel has no tun driver
    Failed,    // anything else, see sys_errno
  } state = State::Usable;
  int sys_errno = 0;
  mode_t mode = 0;  // permission bits, 0 when it is not there
  uid_t owner = 0;
  gid_t group = 0;
};

struct KernelVersion {
  unsigned major = 0;
  unsigned minor = 0;
  friend auto operator<=>(const KernelVersion&, const KernelVersion&) = default;
};

struct HostFacts {
  CapabilityFacts capability;  // CAP_NET_ADMIN, and who we are
  TunNode tun_node;
  KernelVersion kernel;

  netlink::Snapshot network;
  std::optional<Error> network_error;  // it could not be read

  std::string firewall_name;            // back end that would be used, empty when none can be
  std::optional<Error> firewall_error;  // why there is none
  firewall::Presence firewall_presence = firewall::Presence::Absent;

  dns::ResolverFacts resolvers;
  std::optional<Error> resolvers_error;

  std::optional<pid_t> other_instance;  // who holds the lock in the state directory
  rlim_t descriptors_hard = 0;          // RLIMIT_NOFILE
};

// Reads everything; never fails as a whole, never changes anything (the kernel may load a module).
// The capability is raised where reading takes it. About a millisecond.
HostFacts read_host_facts(const Config& config);

// Reads again what can change while we are up: network and resolvers. Errors end in `facts`.
void refresh(HostFacts& facts, netlink::Routing& routing);

// Pieces of read_host_facts(), with the paths given so that tests can have their own.
TunNode read_tun_node(const char* path = "/dev/net/tun");
// "6.18.44-fc" -> 6, 18; zeros for what is not a version.
KernelVersion parse_kernel_version(const char* release);

}  // namespace proxyvpn::app
