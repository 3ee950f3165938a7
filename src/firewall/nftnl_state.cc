#include "firewall/nftnl_state.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <string_view>

#include "base/hex.h"
#include "firewall/nftnl_compile.h"
#include "firewall/nftnl_owner.h"

namespace proxyvpn::firewall {
namespace {

std::string text(const char* string) { return string == nullptr ? std::string() : string; }

std::string signature_of(const nftnl_set* set) {
  const auto number = [set](std::uint16_t what) {
    return std::to_string(nftnl_set_get_u32(set, what));
  };
  return "set " + text(nftnl_set_get_str(set, NFTNL_SET_NAME)) + " key " +
         number(NFTNL_SET_KEY_LEN) + " flags " + number(NFTNL_SET_FLAGS) + " timeout " +
         std::to_string(nftnl_set_get_u64(set, NFTNL_SET_TIMEOUT) / 1000) + " size " +
         number(NFTNL_SET_DESC_SIZE);
}

// A netdev chain names its device in one of two attributes, by the kernel's version.
std::string device_of(const nftnl_chain* chain) {
  if (nftnl_chain_is_set(chain, NFTNL_CHAIN_DEV))
    return text(nftnl_chain_get_str(chain, NFTNL_CHAIN_DEV));
  std::string all;
  if (!nftnl_chain_is_set(chain, NFTNL_CHAIN_DEVICES)) return all;
  const auto* const* devices = nftnl_chain_get_array(chain, NFTNL_CHAIN_DEVICES);
  for (; devices != nullptr && *devices != nullptr; ++devices) {
    if (!all.empty()) all += ' ';
    all += *devices;
  }
  return all;
}

std::string signature_of(const nftnl_chain* chain) {
  std::string line = "chain " + text(nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME));
  if (!nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM)) return line;
  line += " hook " + std::to_string(nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM));
  line += " " + text(nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE));
  line += " priority " + std::to_string(nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO));
  const bool drop = nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_DROP;
  return line + (drop ? " drop" : " accept") + " device " + device_of(chain);
}

// A dump of objects that have a table, filtered by the kernel where it can and by us in any case.
template <class T, class Each>
Result<> dump(NetfilterSocket& socket, int type, int family, T* (*make)(),
              int (*parse)(const nlmsghdr*, T*), const Batch::Fill& fill, Each each) {
  return socket.ask(type, family, NLM_F_DUMP, fill, [&](const nlmsghdr* message) {
    const Owned<T> object(make());
    if (object && parse(message, object.get()) == 0) each(object.get());
  });
}

Batch::Fill in_table(const std::string& name) {
  // NFTA_RULE_TABLE, NFTA_SET_TABLE and NFTA_OBJ_TABLE are the same number.
  static_assert(static_cast<int>(NFTA_RULE_TABLE) == static_cast<int>(NFTA_SET_TABLE));
  static_assert(static_cast<int>(NFTA_RULE_TABLE) == static_cast<int>(NFTA_OBJ_TABLE));
  return [&name](nlmsghdr* header) { mnl_attr_put_strz(header, NFTA_RULE_TABLE, name.c_str()); };
}

struct SetName {
  std::string name;
  bool filled_by_packets = false;
};

Result<std::vector<SetName>> list_sets(NetfilterSocket& socket, int family, const std::string& name,
                                       std::vector<std::string>* signatures) {
  std::vector<SetName> sets;
  auto asked = dump<nftnl_set>(
      socket, NFT_MSG_GETSET, family, nftnl_set_alloc, nftnl_set_nlmsg_parse, in_table(name),
      [&](const nftnl_set* set) {
        if (text(nftnl_set_get_str(set, NFTNL_SET_TABLE)) != name) return;
        const bool dynamic = (nftnl_set_get_u32(set, NFTNL_SET_FLAGS) & NFT_SET_EVAL) != 0;
        sets.push_back({text(nftnl_set_get_str(set, NFTNL_SET_NAME)), dynamic});
        if (signatures != nullptr) signatures->push_back(signature_of(set));
      });
  if (!asked) return tl::unexpected<Error>(asked.error());
  return sets;
}

std::string element_text(const nftnl_set_elem* element) {
  std::string out;
  std::uint32_t length = 0;
  const void* key =
      nftnl_set_elem_get(const_cast<nftnl_set_elem*>(element), NFTNL_SET_ELEM_KEY, &length);
  for (const char byte : std::string_view(static_cast<const char*>(key), key ? length : 0)) {
    append_hex(out, static_cast<std::uint8_t>(byte));
  }
  if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_FLAGS))
    out += nftnl_set_elem_get_u32(const_cast<nftnl_set_elem*>(element), NFTNL_SET_ELEM_FLAGS) != 0
               ? "!"
               : "";
  return out;
}

Result<> append_elements(NetfilterSocket& socket, int family, const std::string& table,
                         const std::string& set, std::string& out) {
  std::vector<std::string> elements;
  const auto fill = [&](nlmsghdr* header) {
    mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_TABLE, table.c_str());
    mnl_attr_put_strz(header, NFTA_SET_ELEM_LIST_SET, set.c_str());
  };
  auto asked = dump<nftnl_set>(
      socket, NFT_MSG_GETSETELEM, family, nftnl_set_alloc, nftnl_set_elems_nlmsg_parse, fill,
      [&](const nftnl_set* chunk) {
        const Owned<nftnl_set_elems_iter> iterator(nftnl_set_elems_iter_create(chunk));
        while (const nftnl_set_elem* element = nftnl_set_elems_iter_next(iterator.get()))
          elements.push_back(element_text(element));
      });
  if (!asked) return asked;
  std::sort(elements.begin(), elements.end());
  out += "set " + set;
  for (const std::string& element : elements) out += " " + element;
  out += "\n";
  return {};
}

}  // namespace

Result<KernelTable> read_table(NetfilterSocket& socket, TableFamily family,
                               const std::string& name) {
  KernelTable table;
  const auto fill = [&name](nlmsghdr* header) {
    mnl_attr_put_strz(header, NFTA_TABLE_NAME, name.c_str());
  };
  auto asked = socket.ask(NFT_MSG_GETTABLE, netfilter_family(family), 0, fill,
                          [&table](const nlmsghdr* message) {
                            const Owned<nftnl_table> object(nftnl_table_alloc());
                            if (!object || nftnl_table_nlmsg_parse(message, object.get()) < 0)
                              return;
                            table.present = true;
                            table.flags = nftnl_table_get_u32(object.get(), NFTNL_TABLE_FLAGS);
                            if (nftnl_table_is_set(object.get(), NFTNL_TABLE_OWNER))
                              table.owner = nftnl_table_get_u32(object.get(), NFTNL_TABLE_OWNER);
                          });
  if (!asked && asked.error().code != Code::NotFound) return tl::unexpected<Error>(asked.error());
  return table;
}

Result<std::vector<std::string>> read_structure(NetfilterSocket& socket, TableFamily family,
                                                const std::string& name) {
  const int number = netfilter_family(family);
  std::vector<std::string> lines;
  auto sets = list_sets(socket, number, name, &lines);
  if (!sets) return tl::unexpected<Error>(sets.error());
  auto chains = dump<nftnl_chain>(socket, NFT_MSG_GETCHAIN, number, nftnl_chain_alloc,
                                  nftnl_chain_nlmsg_parse, {}, [&](const nftnl_chain* chain) {
                                    if (text(nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE)) == name)
                                      lines.push_back(signature_of(chain));
                                  });
  if (!chains) return tl::unexpected<Error>(chains.error());
  auto counters = dump<nftnl_obj>(
      socket, NFT_MSG_GETOBJ, number, nftnl_obj_alloc, nftnl_obj_nlmsg_parse, in_table(name),
      [&](nftnl_obj* object) {
        if (text(nftnl_obj_get_str(object, NFTNL_OBJ_TABLE)) != name) return;
        const std::string counter = text(nftnl_obj_get_str(object, NFTNL_OBJ_NAME));
        const bool counts = nftnl_obj_get_u32(object, NFTNL_OBJ_TYPE) == NFT_OBJECT_COUNTER;
        lines.push_back(counts ? signature(counter) : "object " + counter);
      });
  if (!counters) return tl::unexpected<Error>(counters.error());
  std::sort(lines.begin(), lines.end());
  return lines;
}

Result<Content> read_content(NetfilterSocket& socket, TableFamily family, const std::string& name) {
  const int number = netfilter_family(family);
  Content content;
  auto rules = dump<nftnl_rule>(
      socket, NFT_MSG_GETRULE, number, nftnl_rule_alloc, nftnl_rule_nlmsg_parse, in_table(name),
      [&](const nftnl_rule* rule) {
        if (text(nftnl_rule_get_str(rule, NFTNL_RULE_TABLE)) != name) return;
        ++content.rules;
        content.fingerprint += text(nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN)) + " " +
                               std::to_string(nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE)) + "\n";
      });
  if (!rules) return tl::unexpected<Error>(rules.error());
  auto sets = list_sets(socket, number, name, nullptr);
  if (!sets) return tl::unexpected<Error>(sets.error());
  for (const SetName& set : *sets) {
    if (set.filled_by_packets) continue;
    auto added = append_elements(socket, number, name, set.name, content.fingerprint);
    if (!added) return tl::unexpected<Error>(added.error());
  }
  return content;
}

Result<std::vector<Counter>> read_counters(NetfilterSocket& socket, const std::string& name) {
  std::vector<Counter> counters;
  const std::string_view prefix = kCounterPrefix;
  auto asked =
      dump<nftnl_obj>(socket, NFT_MSG_GETOBJ, NFPROTO_INET, nftnl_obj_alloc, nftnl_obj_nlmsg_parse,
                      in_table(name), [&](nftnl_obj* object) {
                        const std::string counter = text(nftnl_obj_get_str(object, NFTNL_OBJ_NAME));
                        if (text(nftnl_obj_get_str(object, NFTNL_OBJ_TABLE)) != name ||
                            nftnl_obj_get_u32(object, NFTNL_OBJ_TYPE) != NFT_OBJECT_COUNTER ||
                            counter.rfind(prefix, 0) != 0)
                          return;
                        counters.push_back({counter.substr(prefix.size()),
                                            nftnl_obj_get_u64(object, NFTNL_OBJ_CTR_PKTS),
                                            nftnl_obj_get_u64(object, NFTNL_OBJ_CTR_BYTES)});
                      });
  if (!asked && asked.error().code != Code::NotFound) return tl::unexpected<Error>(asked.error());
  return counters;
}

}  // namespace proxyvpn::firewall
