#include "firewall/command_firewall.h"
#include "firewall/firewall.h"
#include "firewall/leftovers.h"
#include "firewall/nftnl_firewall.h"

namespace proxyvpn::firewall {
namespace {

Result<std::unique_ptr<Firewall>> open_alone(Backend backend) {
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

Result<std::unique_ptr<Firewall>> open_one(Backend backend) {
  auto opened = open_alone(backend);
  if (!opened) return opened;
  return with_leftovers(std::move(*opened), backend);
}

}  // namespace

Result<std::unique_ptr<Firewall>> open_firewall(Backend backend) {
  if (backend != Backend::Auto) return open_one(backend);
  std::string reasons;
  for (const Backend each :
       {Backend::Nftables, Backend::NftCommand, Backend::IptablesNft, Backend::IptablesLegacy}) {
    auto opened = open_one(each);
    // Who may not speak netlink shall raise the capability, not get weaker guarantees by a command.
    if (opened || opened.error().code == Code::Permission) return opened;
    reasons += (reasons.empty() ? "" : "; ") + opened.error().message;
  }
  return fail(Code::Unsupported, "no firewall can be used here: " + reasons);
}

}  // namespace proxyvpn::firewall
