// Which bits of packet and connection marks the rules of others write.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>

#include <cstring>
#include <map>
#include <string_view>

#include "firewall/inspect.h"
#include "firewall/netfilter_socket.h"
#include "firewall/nftnl_owner.h"

namespace proxyvpn::firewall {
namespace {

constexpr std::size_t kMaxMarkingRules = 256;
constexpr std::uint32_t kAllBits = 0xffffffff;

// What stands in a register, as far as it came from a mark: `changed` bits differ from it.
struct Register {
  bool packet_mark = false;
  bool connection_mark = false;
  std::uint32_t changed = kAllBits;
};

struct Written {
  std::uint32_t packet = 0;
  std::uint32_t connection = 0;
};

template <class T>
bool read_info(const nftnl_expr* expr, std::uint16_t what, T& info) {
  std::uint32_t length = 0;
  const void* data = nftnl_expr_get(expr, what, &length);
  if (data == nullptr || length < sizeof info) return false;
  std::memcpy(&info, data, sizeof info);
  return true;
}

// iptables-nft's targets, as iptables' own extensions apply them.
void follow_target(const nftnl_expr* expr, Written& written) {
  const char* raw = nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME);
  const std::string_view name = raw == nullptr ? "" : raw;
  if (name == "MARK") {
    xt_mark_tginfo2 info{};
    if (read_info(expr, NFTNL_EXPR_TG_INFO, info)) written.packet |= info.mask | info.mark;
  } else if (name == "CONNMARK") {
    xt_connmark_tginfo1 info{};
    if (!read_info(expr, NFTNL_EXPR_TG_INFO, info)) return;
    if (info.mode == XT_CONNMARK_RESTORE) {
      written.packet |= info.nfmask | info.ctmask;
    } else {
      written.connection |=
          info.ctmask | (info.mode == XT_CONNMARK_SET ? info.ctmark : info.nfmask);
    }
  }
}

// One rule's expressions in order, with what they leave in the registers.
class Follower {
 public:
  void follow(const nftnl_expr* expr) {
    const char* raw = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
    const std::string_view name = raw == nullptr ? "" : raw;
    if (name == "meta") {
      follow_meta(expr);
    } else if (name == "ct") {
      follow_ct(expr);
    } else if (name == "bitwise") {
      follow_bitwise(expr);
    } else if (name == "target") {
      follow_target(expr, written_);
    } else if (name == "immediate" && nftnl_expr_is_set(expr, NFTNL_EXPR_IMM_DATA)) {
      registers_[nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_DREG)] = {};
    }
  }
  [[nodiscard]] const Written& written() const noexcept { return written_; }

 private:
  void follow_meta(const nftnl_expr* expr) {
    const bool mark = nftnl_expr_get_u32(expr, NFTNL_EXPR_META_KEY) == NFT_META_MARK;
    if (nftnl_expr_is_set(expr, NFTNL_EXPR_META_SREG)) {
      if (!mark) return;
      const Register& from = registers_[nftnl_expr_get_u32(expr, NFTNL_EXPR_META_SREG)];
      written_.packet |= from.packet_mark ? from.changed : kAllBits;
    } else {
      registers_[nftnl_expr_get_u32(expr, NFTNL_EXPR_META_DREG)] = {mark, false,
                                                                    mark ? 0 : kAllBits};
    }
  }
  void follow_ct(const nftnl_expr* expr) {
    const bool mark = nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_KEY) == NFT_CT_MARK;
    if (nftnl_expr_is_set(expr, NFTNL_EXPR_CT_SREG)) {
      if (!mark) return;
      const Register& from = registers_[nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_SREG)];
      written_.connection |= from.connection_mark ? from.changed : kAllBits;
    } else {
      registers_[nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_DREG)] = {false, mark, mark ? 0 : kAllBits};
    }
  }
  void follow_bitwise(const nftnl_expr* expr) {
    Register value = registers_[nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_SREG)];
    std::uint32_t mask = 0;
    std::uint32_t flip = kAllBits;
    const bool known = read_info(expr, NFTNL_EXPR_BITWISE_MASK, mask) &&
                       read_info(expr, NFTNL_EXPR_BITWISE_XOR, flip);
    value.changed |= known ? ~mask | flip : kAllBits;
    registers_[nftnl_expr_get_u32(expr, NFTNL_EXPR_BITWISE_DREG)] = value;
  }

  std::map<std::uint32_t, Register> registers_;
  Written written_;
};

std::string family_name(std::uint32_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_ARP:
      return "arp";
    case NFPROTO_BRIDGE:
      return "bridge";
    case NFPROTO_NETDEV:
      return "netdev";
    default:
      return "family " + std::to_string(family);
  }
}

void add_rule(const nftnl_rule* rule, std::vector<MarkingRule>& found) {
  const Owned<nftnl_expr_iter> iterator(nftnl_expr_iter_create(rule));
  Follower follower;
  while (iterator) {
    const nftnl_expr* expr = nftnl_expr_iter_next(iterator.get());
    if (expr == nullptr) break;
    follower.follow(expr);
  }
  const auto name = [rule](std::uint16_t what) {
    const char* text = nftnl_rule_get_str(rule, what);
    return std::string(text == nullptr ? "?" : text);
  };
  const std::string place = family_name(nftnl_rule_get_u32(rule, NFTNL_RULE_FAMILY)) + " " +
                            name(NFTNL_RULE_TABLE) + " " + name(NFTNL_RULE_CHAIN);
  const Written& written = follower.written();
  if (written.packet != 0) found.push_back({place, false, written.packet});
  if (written.connection != 0) found.push_back({place, true, written.connection});
}

}  // namespace

Result<std::vector<MarkingRule>> read_marking_rules(const std::string& own) {
  auto socket = NetfilterSocket::open();
  if (!socket) return tl::unexpected<Error>(socket.error());
  std::vector<MarkingRule> found;
  auto asked =
      socket->ask(NFT_MSG_GETRULE, NFPROTO_UNSPEC, NLM_F_DUMP, {}, [&](const nlmsghdr* message) {
        const Owned<nftnl_rule> rule(nftnl_rule_alloc());
        if (!rule || nftnl_rule_nlmsg_parse(message, rule.get()) < 0) return;
        const char* table = nftnl_rule_get_str(rule.get(), NFTNL_RULE_TABLE);
        if (table == nullptr || own == table || found.size() >= kMaxMarkingRules) return;
        add_rule(rule.get(), found);
      });
  if (!asked) return wrap(asked.error(), "cannot read the rules of other programs");
  return found;
}

}  // namespace proxyvpn::firewall
