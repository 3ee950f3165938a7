#pragma once
// Policy rules (fib_rules) as messages, as values and as `ip rule` text. libnl-route knows neither
// `not` nor what else a foreign rule may hold, so these are read from the message itself. Inside
// this room only.
#include <optional>
#include <string>

#include "netlink/message.h"
#include "netlink/plan.h"

namespace proxyvpn::netlink {

// RTM_NEWRULE or RTM_DELRULE for a rule of ours.
Message rule_message(const PolicyRule& rule, int type, int flags);
// RTM_GETRULE for all rules of a family.
Message rule_listing(Family family);

// FRA_PROTOCOL (Linux 4.17), 0 when absent.
std::uint8_t rule_protocol(const nlmsghdr* message);
// Empty for a rule that selects by anything else than the mark, or does something else than ours.
std::optional<PolicyRule> parse_rule(const nlmsghdr* message);
// A line of `ip rule`, with one space behind the colon: "32766: from all lookup main".
std::string rule_text(const nlmsghdr* message);

}  // namespace proxyvpn::netlink
