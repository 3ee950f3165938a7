#include "firewall/nftnl_compile.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <new>

#include "firewall/nft_text.h"
#include "firewall/nftnl_owner.h"
#include "firewall/nftnl_rule.h"

namespace proxyvpn::firewall {
namespace {

template <class T>
Owned<T> owned(T* object) {
  if (object == nullptr) throw std::bad_alloc();
  return Owned<T>(object);
}

// 500 elements of the widest key stay below the 64 KiB of one attribute.
constexpr std::size_t kElementsPerMessage = 500;
constexpr std::uint32_t kTypeBits = 6;

struct KeyType {
  std::uint32_t id;  // nft(8)'s own number of the type, for listings
  std::uint32_t length;
};

KeyType type_of(KeyPart part) {
  switch (part) {
    case KeyPart::Ipv4:
      return {7, 4};
    case KeyPart::Ipv6:
      return {8, 16};
    case KeyPart::Port:
      return {13, 2};
    case KeyPart::Uid:
      return {24, 4};
    case KeyPart::LinkName:
      return {41, 16};
  }
  return {0, 0};
}

KeyType type_of(const std::vector<KeyPart>& key) {
  if (key.size() == 1) return type_of(key.front());
  KeyType whole{0, 0};
  for (const KeyPart part : key) {
    const KeyType one = type_of(part);
    whole.id = (whole.id << kTypeBits) | one.id;
    whole.length += (one.length + kWord - 1) / kWord * kWord;
  }
  return whole;
}

std::uint32_t flags_of(const Set& set) {
  std::uint32_t flags = 0;
  if (set.interval) flags |= NFT_SET_INTERVAL;
  if (set.dynamic) flags |= NFT_SET_EVAL | NFT_SET_TIMEOUT;
  return flags;
}

std::uint32_t hook_number(HookPoint point) {
  switch (point) {
    case HookPoint::Prerouting:
      return NF_INET_PRE_ROUTING;
    case HookPoint::Input:
      return NF_INET_LOCAL_IN;
    case HookPoint::Forward:
      return NF_INET_FORWARD;
    case HookPoint::Output:
      return NF_INET_LOCAL_OUT;
    case HookPoint::Postrouting:
      return NF_INET_POST_ROUTING;
    case HookPoint::Egress:
      return NF_NETDEV_EGRESS;
  }
  return 0;
}

// ARP has two hooks of its own numbering (linux/netfilter_arp.h).
std::uint32_t hook_number(TableFamily family, HookPoint point) {
  if (family == TableFamily::Arp) return point == HookPoint::Input ? 0 : 1;
  return hook_number(point);
}

constexpr std::uint32_t kHostOrder = 1;
constexpr std::uint32_t kNetworkOrder = 2;

// Only for listings: nft(8) reads from here how to print a key.
void describe_key(nftnl_set* object, const Set& set) {
  const bool host = set.key.size() == 1 &&
                    (set.key.front() == KeyPart::Uid || set.key.front() == KeyPart::LinkName);
  const auto notes = owned(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
  nftnl_udata_put_u32(notes.get(), NFTNL_UDATA_SET_KEYBYTEORDER, host ? kHostOrder : kNetworkOrder);
  nftnl_set_set_data(object, NFTNL_SET_USERDATA, nftnl_udata_buf_data(notes.get()),
                     nftnl_udata_buf_len(notes.get()));
}

void add_set(Batch& batch, const Table& table, const Set& set, std::uint32_t id) {
  const auto object = owned(nftnl_set_alloc());
  const KeyType key = type_of(set.key);
  nftnl_set_set_str(object.get(), NFTNL_SET_TABLE, table.name.c_str());
  nftnl_set_set_str(object.get(), NFTNL_SET_NAME, set.name.c_str());
  nftnl_set_set_u32(object.get(), NFTNL_SET_ID, id);
  nftnl_set_set_u32(object.get(), NFTNL_SET_FLAGS, flags_of(set));
  nftnl_set_set_u32(object.get(), NFTNL_SET_KEY_TYPE, key.id);
  nftnl_set_set_u32(object.get(), NFTNL_SET_KEY_LEN, key.length);
  describe_key(object.get(), set);
  if (set.dynamic) {
    nftnl_set_set_u64(object.get(), NFTNL_SET_TIMEOUT, std::uint64_t{set.timeout_seconds} * 1000);
    nftnl_set_set_u32(object.get(), NFTNL_SET_DESC_SIZE, set.size);
  }
  batch.add(NFT_MSG_NEWSET, netfilter_family(table.family), NLM_F_CREATE, to_nft(table, set),
            [&](nlmsghdr* header) { nftnl_set_nlmsg_build_payload(header, object.get()); });
}

void add_element(nftnl_set* object, const std::vector<std::uint8_t>& key, std::uint32_t flags) {
  nftnl_set_elem* element = nftnl_set_elem_alloc();
  if (element == nullptr) throw std::bad_alloc();
  nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key.data(),
                     static_cast<std::uint32_t>(key.size()));
  if (flags != 0) nftnl_set_elem_set_u32(element, NFTNL_SET_ELEM_FLAGS, flags);
  nftnl_set_elem_add(object, element);
}

// The first address behind the network; empty when there is none.
std::vector<std::uint8_t> behind(std::vector<std::uint8_t> key, unsigned prefix) {
  if (prefix == 0) return {};
  std::size_t byte = (prefix - 1) / 8;
  unsigned carry = 1U << (7 - (prefix - 1) % 8);
  for (;; --byte) {
    const unsigned sum = key[byte] + carry;
    key[byte] = static_cast<std::uint8_t>(sum & 0xff);
    if (sum <= 0xff) return key;
    if (byte == 0) return {};
    carry = 1;
  }
}

std::vector<std::uint8_t> key_of(const Element& element) {
  std::vector<std::uint8_t> key;
  for (const Value& part : element.parts) {
    key.insert(key.end(), part.bytes.begin(), part.bytes.end());
    if (element.parts.size() > 1) key.resize((key.size() + kWord - 1) / kWord * kWord);
  }
  return key;
}

void add_elements(Batch& batch, const Table& table, const Set& set, std::uint32_t id) {
  for (std::size_t from = 0; from < set.elements.size(); from += kElementsPerMessage) {
    const auto object = owned(nftnl_set_alloc());
    nftnl_set_set_str(object.get(), NFTNL_SET_TABLE, table.name.c_str());
    nftnl_set_set_str(object.get(), NFTNL_SET_NAME, set.name.c_str());
    nftnl_set_set_u32(object.get(), NFTNL_SET_ID, id);
    const std::size_t to = std::min(set.elements.size(), from + kElementsPerMessage);
    for (std::size_t at = from; at < to; ++at) {
      const Element& element = set.elements[at];
      const auto key = key_of(element);
      add_element(object.get(), key, 0);
      if (!set.interval) continue;
      const auto end = behind(key, element.prefix);
      if (!end.empty()) add_element(object.get(), end, NFT_SET_ELEM_INTERVAL_END);
    }
    batch.add(NFT_MSG_NEWSETELEM, netfilter_family(table.family), NLM_F_CREATE,
              "add elements to the set " + place(table) + " " + set.name,
              [&](nlmsghdr* header) { nftnl_set_elems_nlmsg_build_payload(header, object.get()); });
  }
}

void add_chain(Batch& batch, const Table& table, const Chain& chain) {
  const auto object = owned(nftnl_chain_alloc());
  nftnl_chain_set_str(object.get(), NFTNL_CHAIN_TABLE, table.name.c_str());
  nftnl_chain_set_str(object.get(), NFTNL_CHAIN_NAME, chain.name.c_str());
  for (const Hook& hook : chain.hook) {
    nftnl_chain_set_str(object.get(), NFTNL_CHAIN_TYPE,
                        hook.type == ChainType::Route ? "route" : "filter");
    nftnl_chain_set_u32(object.get(), NFTNL_CHAIN_HOOKNUM, hook_number(table.family, hook.point));
    nftnl_chain_set_s32(object.get(), NFTNL_CHAIN_PRIO, hook.priority);
    nftnl_chain_set_u32(object.get(), NFTNL_CHAIN_POLICY, hook.drop ? NF_DROP : NF_ACCEPT);
    if (!hook.device.empty())
      nftnl_chain_set_str(object.get(), NFTNL_CHAIN_DEV, hook.device.c_str());
  }
  batch.add(NFT_MSG_NEWCHAIN, netfilter_family(table.family), NLM_F_CREATE, to_nft(table, chain),
            [&](nlmsghdr* header) { nftnl_chain_nlmsg_build_payload(header, object.get()); });
}

void add_counter(Batch& batch, const Table& table, const std::string& counter) {
  const auto object = owned(nftnl_obj_alloc());
  nftnl_obj_set_str(object.get(), NFTNL_OBJ_TABLE, table.name.c_str());
  nftnl_obj_set_str(object.get(), NFTNL_OBJ_NAME, counter.c_str());
  nftnl_obj_set_u32(object.get(), NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
  nftnl_obj_set_u64(object.get(), NFTNL_OBJ_CTR_PKTS, 0);
  nftnl_obj_set_u64(object.get(), NFTNL_OBJ_CTR_BYTES, 0);
  batch.add(NFT_MSG_NEWOBJ, netfilter_family(table.family), NLM_F_CREATE,
            "add counter " + place(table) + " " + counter,
            [&](nlmsghdr* header) { nftnl_obj_nlmsg_build_payload(header, object.get()); });
}

void add_rules(Batch& batch, const Table& table, const Chain& chain) {
  for (const Rule& rule : chain.rules) {
    const RulePtr object = to_nftnl(table, chain, rule);
    batch.add(NFT_MSG_NEWRULE, netfilter_family(table.family), NLM_F_CREATE | NLM_F_APPEND,
              to_nft(table, chain, rule),
              [&](nlmsghdr* header) { nftnl_rule_nlmsg_build_payload(header, object.get()); });
  }
}

}  // namespace

int netfilter_family(TableFamily family) noexcept {
  switch (family) {
    case TableFamily::Inet:
      return NFPROTO_INET;
    case TableFamily::Arp:
      return NFPROTO_ARP;
    case TableFamily::Netdev:
      return NFPROTO_NETDEV;
    case TableFamily::Ip:
      return NFPROTO_IPV4;
    case TableFamily::Ip6:
      return NFPROTO_IPV6;
  }
  return NFPROTO_UNSPEC;
}

void add_table(Batch& batch, const Table& table, std::uint32_t flags) {
  const auto object = owned(nftnl_table_alloc());
  nftnl_table_set_str(object.get(), NFTNL_TABLE_NAME, table.name.c_str());
  nftnl_table_set_u32(object.get(), NFTNL_TABLE_FLAGS, flags);
  batch.add(NFT_MSG_NEWTABLE, netfilter_family(table.family), NLM_F_CREATE,
            "add table " + place(table) + " with flags " + std::to_string(flags),
            [&](nlmsghdr* header) { nftnl_table_nlmsg_build_payload(header, object.get()); });
}

void delete_table(Batch& batch, TableFamily family, const std::string& name) {
  const auto object = owned(nftnl_table_alloc());
  nftnl_table_set_str(object.get(), NFTNL_TABLE_NAME, name.c_str());
  batch.add(NFT_MSG_DELTABLE, netfilter_family(family), 0,
            std::string("delete table ") + to_string(family) + " " + name,
            [&](nlmsghdr* header) { nftnl_table_nlmsg_build_payload(header, object.get()); });
}

void flush_rules(Batch& batch, const Table& table) {
  const RulePtr object(nftnl_rule_alloc());
  nftnl_rule_set_str(object.get(), NFTNL_RULE_TABLE, table.name.c_str());
  batch.add(NFT_MSG_DELRULE, netfilter_family(table.family), 0, "flush table " + place(table),
            [&](nlmsghdr* header) { nftnl_rule_nlmsg_build_payload(header, object.get()); });
}

void flush_set(Batch& batch, const Table& table, const Set& set) {
  const auto object = owned(nftnl_set_alloc());
  nftnl_set_set_str(object.get(), NFTNL_SET_TABLE, table.name.c_str());
  nftnl_set_set_str(object.get(), NFTNL_SET_NAME, set.name.c_str());
  batch.add(NFT_MSG_DELSETELEM, netfilter_family(table.family), 0,
            "flush set " + place(table) + " " + set.name,
            [&](nlmsghdr* header) { nftnl_set_elems_nlmsg_build_payload(header, object.get()); });
}

void add_content(Batch& batch, const Table& table, bool present) {
  if (!present) {
    for (const std::string& counter : table.counters) add_counter(batch, table, counter);
  }
  // Numbers of this batch alone; tables have ranges of their own.
  std::uint32_t id = (static_cast<std::uint32_t>(table.family) + 1) * 100;
  for (const Set& set : table.sets) {
    ++id;
    if (!present) add_set(batch, table, set, id);
    if (!set.elements.empty()) add_elements(batch, table, set, present ? 0 : id);
  }
  if (!present) {
    for (const Chain& chain : table.chains) add_chain(batch, table, chain);
  }
  for (const Chain& chain : table.chains) add_rules(batch, table, chain);
}

std::string signature(const std::string& counter) { return "counter " + counter; }

std::string signature(const Set& set) {
  return "set " + set.name + " key " + std::to_string(type_of(set.key).length) + " flags " +
         std::to_string(flags_of(set)) + " timeout " + std::to_string(set.timeout_seconds) +
         " size " + std::to_string(set.size);
}

std::string signature(TableFamily family, const Chain& chain) {
  std::string text = "chain " + chain.name;
  for (const Hook& hook : chain.hook) {
    text += " hook " + std::to_string(hook_number(family, hook.point));
    text += hook.type == ChainType::Route ? " route" : " filter";
    text += " priority " + std::to_string(hook.priority);
    text += hook.drop ? " drop" : " accept";
    text += " device " + hook.device;
  }
  return text;
}

std::vector<std::string> structure(const Table& table) {
  std::vector<std::string> lines;
  for (const std::string& counter : table.counters) lines.push_back(signature(counter));
  for (const Set& set : table.sets) lines.push_back(signature(set));
  for (const Chain& chain : table.chains) lines.push_back(signature(table.family, chain));
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace proxyvpn::firewall
