#pragma once
// The inside of `run`: user, network and mount namespaces of their own (namespaces(7)) whose only
// way out is a TUN device that the outside holds. Nothing of the machine itself changes, and no
// privilege is needed where the kernel lets ordinary users make user namespaces.
//
// Two processes take part. The child calls enter_private_network(), which asks the parent through a
// socketpair to give it its user ids, and hands the TUN's descriptor out. The parent calls
// welcome().
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "base/unique_fd.h"
#include "tun/packet_io.h"

namespace proxyvpn::app {

// Addresses inside. 198.18.0.0/15 is nobody's on the internet (RFC 2544, RFC 6890): its first half
// stands for names, the end of the second is the TUN's own network.
struct PrivateAddresses {
  Cidr tun_v4{IpAddress::v4(0xc613fffd), 30};       // 198.19.255.253
  IpAddress dns_v4 = IpAddress::v4(0xc613fffe);     // 198.19.255.254
  Cidr tun_v6;                                      // fd70:7278:7976::1/126
  IpAddress stand_ins = IpAddress::v4(0xc6120001);  // 198.18.0.1
  std::size_t stand_in_count = 65'534;
  PrivateAddresses();
};

struct PrivateNetwork {
  std::string tun_name = "tun0";
  PrivateAddresses addresses;
  std::string resolv_conf;  // the text that the command finds in /etc/resolv.conf
};

// In a network namespace that was just made.
Result<> raise_loopback();

// In the child. Afterwards this process is in its namespaces, the links are up, the files are
// mounted and `channel` has carried the TUN out. Capabilities inside the namespaces are still
// there; execve(2) takes them, except from root. The error is a sentence that names what to change
// on this machine.
Result<> enter_private_network(const PrivateNetwork& wanted, int channel);

struct Outlet {
  UniqueFd tun;
  tun::Offloads offloads;
};
// In the parent: answers the child's requests on `channel` until the TUN's descriptor is here.
// Waits, at most some seconds. Code::NotFound when the child gave up; it has said why.
Result<Outlet> welcome(pid_t child, int channel);

// "0 1000 1\n" of uid_map(5) or the like, as what maps every id to itself; empty for no map.
std::string identity_map(const std::string& map);

// Why this machine does not let an ordinary user make a user namespace, with the setting to change;
// `err` is unshare(2)'s.
struct NamespaceSettings {
  std::string unprivileged_clone;  // kernel.unprivileged_userns_clone, "" when there is none
  std::string max_user;            // user.max_user_namespaces
  std::string max_net;             // user.max_net_namespaces
  std::string max_mnt;             // user.max_mnt_namespaces
  std::string apparmor;            // kernel.apparmor_restrict_unprivileged_userns
};
NamespaceSettings read_namespace_settings();
std::string explain_namespaces(int err, const NamespaceSettings& settings);

}  // namespace proxyvpn::app
