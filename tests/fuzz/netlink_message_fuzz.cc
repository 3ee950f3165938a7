// What rtnetlink lists: rules, routes, links and addresses, read from any bytes.
#include <linux/rtnetlink.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "netlink/link_codec.h"
#include "netlink/route_codec.h"
#include "netlink/route_text.h"
#include "netlink/rule_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace proxyvpn::netlink;
  if (size > 65536) return 0;
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(sizeof header + size);
  StoredMessage bytes(header.nlmsg_len);
  std::memcpy(bytes.data(), &header, sizeof header);
  if (size != 0) std::memcpy(bytes.data() + sizeof header, data, size);
  const nlmsghdr* message = stored(bytes);

  // What is taken for a rule of ours is the same one when it is written and read again.
  if (const auto rule = parse_rule(message)) {
    if (parse_rule(rule_message(*rule, RTM_NEWRULE, 0).raw()) != rule) std::abort();
    if (rule_text(message).empty()) std::abort();
  }
  rule_text(message);
  const auto route = parse_route(message);
  const auto text =
      foreign_table_route_text(message, [](std::uint32_t) { return std::string("eth0"); });
  if (!route && !text.empty()) std::abort();
  parse_link(message);
  if (const auto address = parse_address(message)) to_string(address->cidr);
  return 0;
}
