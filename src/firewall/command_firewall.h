#pragma once
// The back ends that write text for commands, for where netlink cannot be spoken.
//
// `nft`: the same rules as the netlink back end, each install() one transaction. What it cannot:
// - own its tables. `nft flush ruleset` of anybody takes them away until the monitor has told, and
//   nothing but the state directory's lock keeps two processes apart.
// - Mode::Open does not vanish with the process: marks stay after a crash until remove(), and with
//   them TCP is shut instead of open (the policy rules' `unreachable`).
// - A changed structure (another mode) empties the counters and the memory of inbound sessions.
//
// `iptables-nft`, `iptables-legacy`: the same rules in chains PROXYVPN_* of mangle and filter, IPv4
// and IPv6. Beyond the points above they cannot:
// - change all at once. Each table of each family is one transaction; mangle, where marks and the
//   guarantee on the real device are, goes first and filter, which only answers sooner, second.
//   Between IPv4 and IPv6, and after an error in between, one family can have the old rules.
// - keep their place: a rule that somebody puts in front of our jump is asked before us. intact()
//   is false then.
// - remember inbound sessions beside conntrack: `conntrack -F` cuts those that came after up. Those
//   of Policy::keep survive.
// - hide the TUN's address from ARP, or guard egress (Code::Unsupported when asked to).
// - tell of changes: monitor_fd() is -1 for iptables-legacy.
// - Policy::table is ignored; the chains' names are fixed.
// - guard with the strength of a table that others cannot touch: any of iptables -F ends it.
// Tables that iptables-nft made for us go with remove(), where netlink can be spoken.
#include <memory>

#include "firewall/firewall.h"

namespace proxyvpn::firewall {

// Code::Unsupported when the command is missing (which package has it) or does not work here.
Result<std::unique_ptr<Firewall>> open_nft_command_firewall();
// IptablesNft or IptablesLegacy.
Result<std::unique_ptr<Firewall>> open_iptables_firewall(Backend backend);

}  // namespace proxyvpn::firewall
