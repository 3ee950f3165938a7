#include "app/host_tools.h"

#include <utility>

#include "app/capabilities.h"
#include "tun/tun_device.h"

namespace proxyvpn::app {

Result<HostTools> HostTools::open(firewall::Backend backend) {
  const RaisedCapability raised(CAP_NET_ADMIN);
  HostTools tools;
  auto firewall = firewall::open_firewall(backend);
  if (!firewall) return tl::unexpected(firewall.error());
  tools.firewall = std::move(*firewall);
  auto routing = netlink::open_routing();
  if (!routing) return tl::unexpected(routing.error());
  tools.routing = std::move(*routing);
  auto sockets = netlink::open_socket_diag();
  if (!sockets) return tl::unexpected(sockets.error());
  tools.sockets = std::move(*sockets);
  return tools;
}

HostDoors HostTools::doors() const {
  HostDoors doors;
  doors.firewall = firewall.get();
  doors.routing = routing.get();
  doors.sockets = sockets.get();
  doors.create_tun = &tun::create_tun;
  doors.raise = [] { return std::make_shared<RaisedCapability>(CAP_NET_ADMIN); };
  return doors;
}

}  // namespace proxyvpn::app
