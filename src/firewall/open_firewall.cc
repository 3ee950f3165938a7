#include "firewall/firewall.h"
#include "firewall/nftnl_firewall.h"

namespace proxyvpn::firewall {

Result<std::unique_ptr<Firewall>> open_firewall(Backend backend) {
  switch (backend) {
    case Backend::Auto:
    case Backend::Nftables:
      return open_nftnl_firewall();
    case Backend::NftCommand:
    case Backend::IptablesNft:
    case Backend::IptablesLegacy:
      break;
  }
  return fail(Code::Unsupported, "only the nftables back end is built in");
}

}  // namespace proxyvpn::firewall
