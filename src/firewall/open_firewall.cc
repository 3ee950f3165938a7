#include "firewall/command_firewall.h"
#include "firewall/firewall.h"
#include "firewall/nftnl_firewall.h"

namespace proxyvpn::firewall {
namespace {

Result<std::unique_ptr<Firewall>> open_one(Backend backend) {
  switch (backend) {
    case Backend::Auto:
    case Backend::Nftables:
      return open_nftnl_firewall();
    case Backend::NftCommand:
      return open_nft_command_firewall();
    case Backend::IptablesNft:
    case Backend::IptablesLegacy:
      return open_iptables_firewall(backend);
  }
  return fail(Code::InvalidArgument, "no such firewall back end");
}

}  // namespace

Result<std::unique_ptr<Firewall>> open_firewall(Backend backend) {
  if (backend != Backend::Auto) return open_one(backend);
  std::string reasons;
  Code code = Code::Unsupported;
  for (const Backend each :
       {Backend::Nftables, Backend::NftCommand, Backend::IptablesNft, Backend::IptablesLegacy}) {
    auto opened = open_one(each);
    if (opened) return opened;
    // Without the right to speak netlink the commands may not either, and say it worse.
    if (opened.error().code == Code::Permission) code = Code::Permission;
    reasons += (reasons.empty() ? "" : "; ") + opened.error().message;
  }
  return fail(code, "no firewall can be used here: " + reasons);
}

}  // namespace proxyvpn::firewall
