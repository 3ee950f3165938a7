#include "netlink/names.h"

#include <linux/rtnetlink.h>

namespace proxyvpn::netlink {
namespace {

struct Protocol {
  std::uint8_t number;
  const char* text;
};
constexpr Protocol kProtocols[] = {
    {RTPROT_UNSPEC, "unspec"}, {RTPROT_REDIRECT, "redirect"},
    {RTPROT_KERNEL, "kernel"}, {RTPROT_BOOT, "boot"},
    {RTPROT_STATIC, "static"}, {RTPROT_RA, "ra"},
    {RTPROT_ZEBRA, "zebra"},   {RTPROT_BIRD, "bird"},
    {RTPROT_DHCP, "dhcp"},     {RTPROT_KEEPALIVED, "keepalived"},
    {RTPROT_BABEL, "babel"},   {RTPROT_BGP, "bgp"},
    {RTPROT_ISIS, "isis"},     {RTPROT_OSPF, "ospf"},
    {RTPROT_RIP, "rip"},       {RTPROT_EIGRP, "eigrp"},
};

}  // namespace

std::string table_name(std::uint32_t table) {
  switch (table) {
    case RT_TABLE_DEFAULT:
      return "default";
    case RT_TABLE_MAIN:
      return "main";
    case RT_TABLE_LOCAL:
      return "local";
    default:
      return std::to_string(table);
  }
}

std::string protocol_name(std::uint8_t protocol) {
  for (const Protocol& known : kProtocols)
    if (known.number == protocol) return known.text;
  return std::to_string(protocol);
}

const char* ip_command(Family family) noexcept { return family == Family::V6 ? "ip -6 " : "ip "; }

}  // namespace proxyvpn::netlink
