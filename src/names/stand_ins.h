#pragma once
// Addresses that stand for names. The command gets an address of a network that is nobody's, and
// when it connects there, the proxy is asked for the name itself: so the proxy finds names, as it
// does for any HTTP client, and no DNS question has to leave this machine.
//
// Bounded: when all are taken, the one that was not asked for and not connected to for the longest
// time stands for the next name.
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/ip.h"

namespace proxyvpn::names {

class StandIns {
 public:
  // `most` addresses from `first` on, IPv4.
  StandIns(IpAddress first, std::size_t most);

  // The name's address, the same as before while it is remembered.
  IpAddress address_of(const std::string& name);
  // The name that an address stands for. Counts as use.
  std::optional<std::string> name_of(const IpAddress& address);
  // True for every address that may stand for a name, taken or not.
  [[nodiscard]] bool covers(const IpAddress& address) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return by_name_.size(); }

 private:
  struct Entry {
    std::string name;
    std::uint32_t offset = 0;  // from the first address
  };
  using Entries = std::list<Entry>;  // the one used last comes first

  std::uint32_t first_;
  std::size_t most_;
  Entries entries_;
  std::unordered_map<std::string, Entries::iterator> by_name_;
  std::unordered_map<std::uint32_t, Entries::iterator> by_offset_;
};

}  // namespace proxyvpn::names
