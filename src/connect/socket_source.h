#pragma once
// Where marked sockets come from: the supervisor's hand-over in the product, socket(2) in tests.
#include "base/ip.h"
#include "base/unique_fd.h"

namespace proxyvpn::connect {

class SocketSource {
 public:
  virtual ~SocketSource() = default;
  // A fresh, non-blocking TCP socket of this family that bypasses the capture. Invalid: none now;
  // the source calls TunnelTable::sockets_available() when there are some again.
  virtual UniqueFd take(Family family) noexcept = 0;
};

}  // namespace proxyvpn::connect
