#pragma once
// Tells when somebody else changes a table of ours (NFNLGRP_NFTABLES).
#include <libmnl/libmnl.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace proxyvpn::firewall {

class NftablesMonitor {
 public:
  // Code::Permission without CAP_NET_ADMIN.
  static Result<NftablesMonitor> open();

  [[nodiscard]] int fd() const noexcept { return mnl_socket_get_fd(socket_.get()); }
  // Reads everything that is there without blocking. True when a table of one of these names, in
  // any family, was changed by another netlink port than `own_port`, or when messages were lost.
  bool drain(std::initializer_list<std::string_view> tables, std::uint32_t own_port) noexcept;

 private:
  struct Close {
    void operator()(mnl_socket* socket) const noexcept { mnl_socket_close(socket); }
  };
  explicit NftablesMonitor(mnl_socket* socket) : socket_(socket) {}
  std::unique_ptr<mnl_socket, Close> socket_;
};

}  // namespace proxyvpn::firewall
