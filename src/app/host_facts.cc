#include "app/host_facts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <cerrno>
#include <cstdio>

#include "app/state_dir.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

TunNode::State to_state(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return TunNode::State::Missing;
    case EACCES:
    case EPERM:
      return TunNode::State::NoAccess;
    case ENXIO:
    case ENODEV:
      return TunNode::State::NoDriver;
    default:
      return TunNode::State::Failed;
  }
}

void read_firewall(HostFacts& facts, firewall::Backend backend) {
  const RaisedCapability raised(CAP_NET_ADMIN);
  auto firewall = firewall::open_firewall(backend);
  if (!firewall) {
    facts.firewall_error = firewall.error();
    return;
  }
  facts.firewall_name = (*firewall)->name();
  const auto presence = (*firewall)->presence();
  if (presence) {
    facts.firewall_presence = *presence;
  } else {
    facts.firewall_error = presence.error();
  }
}

void read_network(HostFacts& facts, netlink::Routing& routing) {
  auto snapshot = routing.snapshot();
  facts.network_error.reset();
  if (snapshot) {
    facts.network = std::move(*snapshot);
  } else {
    facts.network_error = snapshot.error();
  }
}

void read_resolvers(HostFacts& facts) {
  auto resolvers = dns::read_resolver_facts();
  facts.resolvers_error.reset();
  if (resolvers) {
    facts.resolvers = std::move(*resolvers);
  } else {
    facts.resolvers_error = resolvers.error();
  }
}

// The lock may be in any of the directories that an ordinary user's or root's daemon takes. One
// that cannot be opened is none of ours: the packet filter's table has an owner too.
std::optional<pid_t> find_other_instance(const Config& config) {
  for (const auto& path : candidate_state_dirs(config.state_dir, ::geteuid())) {
    const auto directory = StateDir::open_existing(path);
    if (!directory) continue;
    if (const auto holder = InstanceLock::holder(*directory)) return holder;
  }
  return std::nullopt;
}

}  // namespace

TunNode read_tun_node(const char* path) {
  TunNode node;
  struct stat status {};
  if (::stat(path, &status) == 0) {
    node.mode = status.st_mode & 07777;
    node.owner = status.st_uid;
    node.group = status.st_gid;
  }
  // Opening makes no device; that takes an ioctl(2).
  const UniqueFd fd(::open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (fd) return node;
  node.sys_errno = errno;
  node.state = to_state(node.sys_errno);
  return node;
}

KernelVersion parse_kernel_version(const char* release) {
  KernelVersion version;
  if (std::sscanf(release, "%u.%u", &version.major, &version.minor) != 2) return {};
  return version;
}

HostFacts read_host_facts(const Config& config) {
  HostFacts facts;
  facts.capability = read_capability_facts(CAP_NET_ADMIN);
  facts.tun_node = read_tun_node();
  utsname name{};
  if (::uname(&name) == 0) facts.kernel = parse_kernel_version(name.release);
  if (auto routing = netlink::open_routing()) {
    read_network(facts, **routing);
  } else {
    facts.network_error = routing.error();
  }
  read_firewall(facts, config.backend);
  read_resolvers(facts);
  facts.other_instance = find_other_instance(config);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) facts.descriptors_hard = limit.rlim_max;
  return facts;
}

void refresh(HostFacts& facts, netlink::Routing& routing) {
  read_network(facts, routing);
  read_resolvers(facts);
}

}  // namespace proxyvpn::app
