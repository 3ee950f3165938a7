#pragma once
// The machine's own TCP sockets, read and cut through sock_diag(7).
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
  std::uint32_t mark = 0;  // INET_DIAG_MARK; 0 without CAP_NET_ADMIN
};

class SocketDiag {
 public:
  virtual ~SocketDiag() = default;
  // Sockets with a peer (every state but LISTEN, CLOSE, TIME_WAIT), IPv4 and IPv6; IPv4-mapped IPv6
  // addresses come as IPv4. Loopback to loopback is left out.
  virtual Result<std::vector<TcpSocket>> connected() = 0;
  // Local endpoints that have a listener; an unspecified address means any.
  virtual Result<std::vector<Endpoint>> listeners() = 0;
  // SOCK_DESTROY: the application's next call gives ECONNABORTED and the peer gets an RST, if the
  // firewall lets it out. Gone already is success. Code::Unsupported without
  // CONFIG_INET_DIAG_DESTROY. Needs CAP_NET_ADMIN.
  virtual Result<> destroy(const TcpSocket& socket) = 0;
};

Result<std::unique_ptr<SocketDiag>> open_socket_diag();

// The connected sockets whose local endpoint has a listener: sessions that came in from outside.
std::vector<TcpSocket> inbound(const std::vector<TcpSocket>& connected,
                               const std::vector<Endpoint>& listeners);

}  // namespace proxyvpn::netlink
