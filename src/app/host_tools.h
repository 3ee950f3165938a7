#pragma once
// The real doors to the machine, opened together.
#include <memory>

#include "app/lifecycle.h"
#include "base/error.h"
#include "firewall/firewall.h"
#include "netlink/routing.h"
#include "netlink/sock_diag.h"

namespace proxyvpn::app {

struct HostTools {
  std::unique_ptr<firewall::Firewall> firewall;
  std::unique_ptr<netlink::Routing> routing;
  std::unique_ptr<netlink::SocketDiag> sockets;

  // Changes nothing. The capability is raised around what needs it.
  static Result<HostTools> open(firewall::Backend backend);
  // Valid while this object lives and is not moved.
  [[nodiscard]] HostDoors doors() const;
};

}  // namespace proxyvpn::app
