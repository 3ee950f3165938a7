#include "netlink/names.h"

#include <linux/rtnetlink.h>

#include <cstdio>

namespace proxyvpn::netlink {
namespace {

struct Name {
  std::uint8_t number;
  const char* text;
};
constexpr Name kNames[] = {
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
  for (const Name& name : kNames)
    if (name.number == protocol) return name.text;
  return std::to_string(protocol);
}

std::string hex(std::uint32_t value) {
  char buffer[16] = {};
  std::snprintf(buffer, sizeof buffer, "0x%x", value);
  return buffer;
}

}  // namespace proxyvpn::netlink
