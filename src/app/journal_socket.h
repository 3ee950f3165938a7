#pragma once
// The door of systemd's journal for records with fields (systemd.io/JOURNAL_NATIVE_PROTOCOL).
#include <sys/un.h>

#include <string>

#include "base/unique_fd.h"

namespace proxyvpn::app {

class JournalSocket {
 public:
  // Leads nowhere.
  JournalSocket() = default;
  explicit JournalSocket(const std::string& path);
  // False: nobody takes it. By its address each time, so that a restart of the journal goes
  // unnoticed.
  [[nodiscard]] bool send(const std::string& datagram) const noexcept;
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }  // -1: leads nowhere

 private:
  UniqueFd socket_;
  sockaddr_un address_{};
};

}  // namespace proxyvpn::app
