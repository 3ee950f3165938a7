#pragma once
// Whose a flow is: the kernel knows the socket (sock_diag(7)), and the process that holds it is
// found in /proc. Done by the client with the rights that it has.
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/ip.h"
#include "netlink/sock_diag.h"

namespace proxyvpn::app {

struct FlowOwner {
  pid_t pid = 0;     // 0: not to be seen
  std::string name;  // of the process; empty: not to be seen
  uid_t uid = 0;
  std::string user;  // its name, else its number
};

// Finds owners and remembers them: a socket's holder seldom changes.
class OwnerFinder {
 public:
  // Looks at these flows' ends; one with an unknown owner costs a look at all sockets of the
  // machine, and one whose process is unknown a look at all processes.
  void look(const std::vector<std::pair<Endpoint, Endpoint>>& flows);
  // Null: the kernel does not tell (a container's, or gone).
  [[nodiscard]] const FlowOwner* find(const Endpoint& source, const Endpoint& destination) const;

 private:
  struct Key {
    Endpoint source;
    Endpoint destination;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept {
      return std::hash<Endpoint>()(key.source) * 31 + std::hash<Endpoint>()(key.destination);
    }
  };
  std::string user_name(uid_t uid);
  std::unordered_map<Key, FlowOwner, KeyHash> owners_;
  std::unordered_map<uid_t, std::string> users_;
};

// "socket:[12345]" -> 12345; empty for any other link.
std::optional<std::uint64_t> socket_inode(std::string_view link) noexcept;

// The processes that hold these sockets, as far as /proc lets us see: inode -> pid.
std::unordered_map<std::uint64_t, pid_t> find_holders(
    const std::unordered_set<std::uint64_t>& inodes);

}  // namespace proxyvpn::app
