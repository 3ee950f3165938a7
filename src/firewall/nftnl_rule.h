#pragma once
#include <libnftnl/rule.h>

#include <memory>

#include "firewall/ruleset.h"

namespace proxyvpn::firewall {

struct RuleFree {
  void operator()(nftnl_rule* rule) const noexcept { nftnl_rule_free(rule); }
};
using RulePtr = std::unique_ptr<nftnl_rule, RuleFree>;

// The rule's expressions. Comparisons that a field depends on ("only in IPv6 packets") are put in
// front of it as nft(8) does, so that a listing reads the same.
RulePtr to_nftnl(const Table& table, const Chain& chain, const Rule& rule);

}  // namespace proxyvpn::firewall
