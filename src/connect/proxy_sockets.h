#pragma once
// Sockets for connections to the proxy, before their mark.
#include <vector>

#include "base/ip.h"
#include "base/unique_fd.h"

namespace proxyvpn::connect {

class ProxySockets {
 public:
  // `sources`: addresses of this machine that connections come from, in turns; empty: the kernel
  // chooses. Each has ports of its own, so that more connections than one address has ports for
  // can be open at a time.
  explicit ProxySockets(std::vector<IpAddress> sources = {}) : sources_(std::move(sources)) {}

  // A non-blocking TCP socket, invalid when there is none to be had. An address that the machine
  // does not have at the moment is passed over; with none left the kernel chooses.
  UniqueFd make(Family family) noexcept;

 private:
  void bind_next(int fd, Family family) noexcept;

  std::vector<IpAddress> sources_;
  std::size_t turn_ = 0;
};

}  // namespace proxyvpn::connect
