#pragma once
// What this room's namespace tests share: `nft` as the witness from outside.
#include <algorithm>
#include <memory>
#include <regex>
#include <string>

#include "firewall/firewall.h"
#include "firewall/policy_test_values.h"
#include "testing/netns.h"

namespace proxyvpn::firewall {

using proxyvpn::testing::NetnsTest;
using proxyvpn::testing::run;
using proxyvpn::testing::text_of;

inline std::string outcome(const Result<>& result) {
  return result ? "ok" : result.error().message;
}

inline std::unique_ptr<Firewall> opened(Backend backend) {
  auto firewall = open_firewall(backend);
  EXPECT_TRUE(firewall.has_value()) << (firewall ? "" : firewall.error().message);
  return firewall ? std::move(*firewall) : nullptr;
}

// For the name of a test case.
inline std::string backend_name(const ::testing::TestParamInfo<Backend>& info) {
  switch (info.param) {
    case Backend::Nftables:
      return "Nftables";
    case Backend::NftCommand:
      return "Nft";
    case Backend::IptablesNft:
      return "IptablesNft";
    case Backend::IptablesLegacy:
      return "IptablesLegacy";
    case Backend::Auto:
      break;
  }
  return "Auto";
}

// The links that full_policy() guards, and a namespace's lo.
inline void add_links() { text_of("ip link add up0 type veth peer name port0"); }

// `nft list ruleset` without what tells who owns a table.
inline std::string listing() {
  std::string text = text_of("nft list ruleset");
  text = std::regex_replace(text, std::regex(" # progname [^\n]*"), "");
  return std::regex_replace(text, std::regex("\tflags (owner|persist|,|0x4)*\n\n?"), "");
}

// Everything that any back end could leave behind.
inline std::string everything() {
  std::string text = text_of("nft list ruleset");
  for (const char* save : {"iptables-legacy-save", "ip6tables-legacy-save"})
    text += text_of(std::string(save) + " -t mangle | grep PROXYVPN; " + save +
                    " -t filter | grep PROXYVPN; true");
  return text;
}

}  // namespace proxyvpn::firewall
