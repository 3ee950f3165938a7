#pragma once
// The door to the packet filter. One implementation speaks to nf_tables itself (libnftnl on
// libmnl), the others write a whole rule set for `nft` or `iptables-restore`; all give the same
// guarantees.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "firewall/policy.h"

namespace proxyvpn::firewall {

// Packets that the killswitch refused, by reason, since the table was made.
struct Counter {
  std::string reason;  // "dns", "udp", "icmp", "tcp", "forward", "spoofed-tun", "other"
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

enum class Presence : std::uint8_t {
  Absent,
  Orphan,  // there, nobody owns it: a crashed run's, to be adopted by install() or removed
  Owned,   // there, owned by a live process that is not us
  Ours,    // there and owned by this object, or an unowned table that we made (old kernels)
};

// Needs effective CAP_NET_ADMIN around every call but name() and the two of the monitor. Blocks for
// as long as the kernel takes: 5 s at most per request to it, 15 s per command that is run.
class Firewall {
 public:
  virtual ~Firewall() = default;
  [[nodiscard]] virtual std::string name()
      const = 0;  // "nftables", "nft", "iptables-nft", "iptables-legacy"

  // Puts exactly this policy in force, in one transaction: at no moment is there no rule set where
  // there was one before. Adopts an orphan. Reads the table back and fails when it is not there.
  // Code::Busy when another process owns the table.
  virtual Result<> install(const Policy& policy) = 0;
  // Removes everything of ours, orphans of crashed runs too, whatever back end they used (of other
  // tables than that of the last install(), those with Policy's default name). Nothing there is
  // success.
  virtual Result<> remove() = 0;
  virtual Result<Presence> presence() = 0;
  // True when the rules in the kernel are those of the last install(). Cheap; used by the monitor.
  virtual Result<bool> intact() = 0;
  virtual Result<std::vector<Counter>> counters() = 0;
  // Becomes readable when somebody changes tables (NFNLGRP_NFTABLES); -1 where there is no such
  // thing.
  [[nodiscard]] virtual int monitor_fd() const noexcept = 0;
  // Drains it. True when a table of ours was touched by somebody else.
  virtual bool drain_monitor() noexcept = 0;
};

enum class Backend : std::uint8_t { Auto, Nftables, NftCommand, IptablesNft, IptablesLegacy };

// Auto: the first that works of nf_tables by netlink, `nft`, `iptables-nft`, `iptables-legacy`;
// Code::Permission ends the search, as the later ones guarantee less (command_firewall.h says
// what). Commands are run by absolute path from the system's own folders, with a clean environment
// and CAP_NET_ADMIN raised as ambient capability for the child alone; never through a shell or
// $PATH. Nothing is changed by opening. Code::Unsupported says what is missing and which package
// has it.
Result<std::unique_ptr<Firewall>> open_firewall(Backend backend);

// The whole policy as text that `nft -f -` takes (flat form), for --dry-run and the nft back end.
std::string to_nft(const Policy& policy);

}  // namespace proxyvpn::firewall
