#pragma once
// One rule as arguments of iptables(8), without the chain. Pure.
#include <string>
#include <vector>

#include "base/ip.h"
#include "firewall/ruleset.h"

namespace proxyvpn::firewall {

std::string iptables_chain(const std::string& chain);  // "out" -> "PROXYVPN_OUT"

// As many lines as the rule's sets have elements, times its actions; none when it cannot match in
// this family. Each begins with a space. Code::Unsupported names what iptables has no words for.
Result<std::vector<std::string>> to_iptables(const Table& inet, Family family, const Rule& rule);

}  // namespace proxyvpn::firewall
