#pragma once
// The machine's own TCP sockets, read and cut through sock_diag(7).
#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/ip.h"

namespace proxyvpn::netlink {

struct TcpSocket {
  Endpoint local;
  Endpoint remote;
  std::uint32_t uid = 0;
  std::uint32_t inode = 0;
  std::uint32_t mark = 0;    // INET_DIAG_MARK; 0 without CAP_NET_ADMIN
  std::uint32_t device = 0;  // index of the link that it is bound to (SO_BINDTODEVICE), 0 for none
  // The kernel's name for exactly this socket, so that destroy() never hits a later one with the
  // same addresses; kAnyCookie takes whichever has these addresses.
  static constexpr std::uint64_t kAnyCookie = ~std::uint64_t{0};
  std::uint64_t cookie = kAnyCookie;
};

class SocketDiag {
 public:
  virtual ~SocketDiag() = default;
  // Sockets with a peer (every state but LISTEN, CLOSE, TIME_WAIT), IPv4 and IPv6; IPv4-mapped IPv6
  // addresses come as IPv4. Left out is what stays on this machine: loopback to loopback, and
  // both ends of a connection between two sockets of this machine, whatever their addresses.
  virtual Result<std::vector<TcpSocket>> connected() = 0;
  // Local endpoints that have a listener, sorted, each once; an unspecified address means any of
  // its family. A listener on [::] that takes IPv4 too comes as both [::] and 0.0.0.0.
  virtual Result<std::vector<Endpoint>> listeners() = 0;
  // SOCK_DESTROY: the application's next call gives ECONNABORTED and the peer gets an RST, if the
  // firewall lets it out. Gone already is success. Code::Unsupported without
  // CONFIG_INET_DIAG_DESTROY. Needs CAP_NET_ADMIN.
  virtual Result<> destroy(const TcpSocket& socket) = 0;
};

// Opens one NETLINK_SOCK_DIAG socket in the network namespace of the caller. CAP_NET_ADMIN must be
// effective here too, not only in the calls that need it. Code::Unsupported without
// CONFIG_INET_DIAG.
Result<std::unique_ptr<SocketDiag>> open_socket_diag();

// The connected sockets whose local endpoint has a listener: sessions that came in from outside.
// Linear in both. The kernel doesn't keep who called whom, so a session whose listener is gone is
// not found, and a connection that went out from a port with a listener (SO_REUSEPORT) is.
std::vector<TcpSocket> inbound(const std::vector<TcpSocket>& connected,
                               const std::vector<Endpoint>& listeners);

}  // namespace proxyvpn::netlink
