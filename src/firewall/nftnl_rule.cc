#include "firewall/nftnl_rule.h"

#include <libnftnl/expr.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

#include <array>
#include <cstring>
#include <new>

#include "firewall/nftnl_compile.h"

namespace proxyvpn::firewall {
namespace {

constexpr std::uint32_t kNoXor[4] = {};

// Registers overlap: four of 16 bytes, or sixteen of 4 bytes. Named as nft(8) names them.
std::uint32_t register_at(std::uint32_t word) {
  return word % 4 == 0 ? NFT_REG_1 + word / 4 : NFT_REG32_00 + word;
}

class RuleWriter {
 public:
  RuleWriter(nftnl_rule* rule, TableFamily family) : rule_(rule), family_(family) {}

  void operator()(const Compare& compare) {
    depend_on(compare.field);
    load(compare.field, NFT_REG_1);
    const auto length = static_cast<std::uint32_t>(compare.bytes.size());
    if (!compare.mask.empty()) mask(compare.mask.data(), kNoXor, length);
    cmp(compare.negate ? NFT_CMP_NEQ : NFT_CMP_EQ, compare.bytes.data(), length);
    if (compare.field == Field::L4Proto && !compare.negate) protocol_ = compare.bytes.front();
  }

  void operator()(const Lookup& lookup) {
    load_key(lookup.key);
    nftnl_expr* expr = add("lookup");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
    nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, lookup.set.c_str());
  }

  void operator()(const AddToSet& statement) {
    load_key(statement.key);
    nftnl_expr* expr = add("dynset");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_DYNSET_SREG_KEY, NFT_REG_1);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_ADD);
    nftnl_expr_set_str(expr, NFTNL_EXPR_DYNSET_SET_NAME, statement.set.c_str());
  }

  void operator()(const SetMark& statement) {
    load(statement.mark, NFT_REG_1);
    const std::uint32_t keep = ~statement.mask;
    mask(&keep, &statement.value, sizeof keep);
    const FieldInfo field = info(statement.mark);
    if (field.source == FieldSource::Conntrack) {
      nftnl_expr* expr = add("ct");
      nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, field.key);
      nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_SREG, NFT_REG_1);
      return;
    }
    nftnl_expr* expr = add("meta");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, field.key);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_SREG, NFT_REG_1);
  }

  void operator()(const Count& count) {
    nftnl_expr* expr = add("objref");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
    nftnl_expr_set_str(expr, NFTNL_EXPR_OBJREF_IMM_NAME, count.counter.c_str());
  }

  void operator()(const Reject& reject) {
    const bool reset = reject.with == RejectWith::TcpReset;
    nftnl_expr* expr = add("reject");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_REJECT_TYPE,
                       reset ? NFT_REJECT_TCP_RST : NFT_REJECT_ICMPX_UNREACH);
    nftnl_expr_set_u8(expr, NFTNL_EXPR_REJECT_CODE,
                      reset ? std::uint8_t{0} : std::uint8_t{NFT_REJECT_ICMPX_ADMIN_PROHIBITED});
  }

  void operator()(const Verdict& verdict) {
    nftnl_expr* expr = add("immediate");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, static_cast<std::uint32_t>(code_of(verdict)));
    if (!verdict.chain.empty())
      nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, verdict.chain.c_str());
  }

 private:
  static int code_of(const Verdict& verdict) {
    switch (verdict.action) {
      case Action::Accept:
        return NF_ACCEPT;
      case Action::Drop:
        return NF_DROP;
      case Action::Return:
        return NFT_RETURN;
      case Action::Jump:
        return NFT_JUMP;
      case Action::Goto:
        return NFT_GOTO;
    }
    return NF_DROP;
  }

  // The expression belongs to the rule.
  nftnl_expr* add(const char* name) {
    nftnl_expr* expr = nftnl_expr_alloc(name);
    if (expr == nullptr) throw std::bad_alloc();
    nftnl_rule_add_expr(rule_, expr);
    return expr;
  }

  void cmp(std::uint32_t operation, const void* data, std::uint32_t length) {
    nftnl_expr* expr = add("cmp");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, operation);
    nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, length);
  }

  void mask(const void* bits, const void* flip, std::uint32_t length) {
    nftnl_expr* expr = add("bitwise");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, length);
    nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, bits, length);
    nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, flip, length);
  }

  void load_meta(std::uint32_t key, std::uint32_t to) {
    nftnl_expr* expr = add("meta");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, to);
  }

  void load_header(std::uint32_t base, const FieldInfo& field, std::uint32_t to) {
    nftnl_expr* expr = add("payload");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, to);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, field.key);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, field.length);
  }

  void load(Field name, std::uint32_t to) {
    const FieldInfo field = info(name);
    switch (field.source) {
      case FieldSource::Meta:
        return load_meta(field.key, to);
      case FieldSource::NetworkHeader:
        return load_header(NFT_PAYLOAD_NETWORK_HEADER, field, to);
      case FieldSource::TransportHeader:
        return load_header(NFT_PAYLOAD_TRANSPORT_HEADER, field, to);
      case FieldSource::Conntrack: {
        nftnl_expr* expr = add("ct");
        nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, field.key);
        nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, to);
        return;
      }
      case FieldSource::Socket: {
        nftnl_expr* expr = add("socket");
        nftnl_expr_set_u32(expr, NFTNL_EXPR_SOCKET_KEY, NFT_SOCKET_CGROUPV2);
        nftnl_expr_set_u32(expr, NFTNL_EXPR_SOCKET_LEVEL, field.key);
        nftnl_expr_set_u32(expr, NFTNL_EXPR_SOCKET_DREG, to);
        return;
      }
      case FieldSource::Fib: {
        nftnl_expr* expr = add("fib");
        nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_DREG, to);
        nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_FLAGS, field.key);
        return;
      }
    }
  }

  void load_key(const std::vector<Field>& key) {
    for (const Field field : key) depend_on(field);
    std::uint32_t word = 0;
    for (const Field field : key) {
      load(field, register_at(word));
      word += (info(field).length + kWord - 1) / kWord;
    }
  }

  // A transport header's bytes mean what the rule says only in packets of the right kind.
  void depend_on(Field name) {
    const FieldInfo field = info(name);
    if (field.ip_version != 0 && field.ip_version != ip_version_) {
      depend_on_version(field.ip_version);
      ip_version_ = field.ip_version;
    }
    if (field.protocol != 0 && field.protocol != protocol_) {
      load_meta(NFT_META_L4PROTO, NFT_REG_1);
      cmp(NFT_CMP_EQ, &field.protocol, sizeof field.protocol);
      protocol_ = field.protocol;
    }
  }

  void depend_on_version(std::uint8_t version) {
    if (family_ == TableFamily::Netdev) {
      const std::array<std::uint8_t, 2> type = version == 4
                                                   ? std::array<std::uint8_t, 2>{0x08, 0x00}
                                                   : std::array<std::uint8_t, 2>{0x86, 0xdd};
      load_meta(NFT_META_PROTOCOL, NFT_REG_1);
      cmp(NFT_CMP_EQ, type.data(), type.size());
      return;
    }
    const std::uint8_t family = version == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
    load_meta(NFT_META_NFPROTO, NFT_REG_1);
    cmp(NFT_CMP_EQ, &family, sizeof family);
  }

  nftnl_rule* rule_;
  TableFamily family_;
  std::uint8_t ip_version_ = 0;
  std::uint8_t protocol_ = 0;
};

}  // namespace

RulePtr to_nftnl(const Table& table, const Chain& chain, const Rule& rule) {
  RulePtr made(nftnl_rule_alloc());
  if (!made) throw std::bad_alloc();
  nftnl_rule_set_str(made.get(), NFTNL_RULE_TABLE, table.name.c_str());
  nftnl_rule_set_str(made.get(), NFTNL_RULE_CHAIN, chain.name.c_str());
  nftnl_rule_set_u32(made.get(), NFTNL_RULE_FAMILY,
                     static_cast<std::uint32_t>(netfilter_family(table.family)));
  RuleWriter writer(made.get(), table.family);
  for (const Statement& statement : rule.statements) std::visit(writer, statement);
  return made;
}

}  // namespace proxyvpn::firewall
