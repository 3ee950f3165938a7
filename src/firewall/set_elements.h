#pragma once
// The sets of the inet table and their elements, out of a policy.
#include <span>

#include "firewall/ruleset.h"

namespace proxyvpn::firewall {

std::vector<Set> inet_sets(const Policy& policy, std::uint32_t seen_size,
                           std::uint32_t seen_seconds);

// A set's name for one family: "tun4", "tun6".
std::string per_family(const char* name, Family family);

// An interval set of the networks of one family: sorted, none inside another.
Set network_set(std::string name, Family family, std::span<const Cidr> networks);

}  // namespace proxyvpn::firewall
