#include "firewall/field.h"

#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

namespace proxyvpn::firewall {
namespace {

using enum FieldSource;

// Split from info() only for the length of the function.
FieldInfo packet_field(Field field) noexcept {
  switch (field) {
    case Field::Ip4Source:
      return {"ip saddr", NetworkHeader, 12, 4, 4, 0};
    case Field::Ip4Destination:
      return {"ip daddr", NetworkHeader, 16, 4, 4, 0};
    case Field::Ip6Source:
      return {"ip6 saddr", NetworkHeader, 8, 16, 6, 0};
    case Field::Ip6Destination:
      return {"ip6 daddr", NetworkHeader, 24, 16, 6, 0};
    case Field::Ip6HopLimit:
      return {"ip6 hoplimit", NetworkHeader, 7, 1, 6, 0};
    case Field::TcpSource:
      return {"tcp sport", TransportHeader, 0, 2, 0, IPPROTO_TCP};
    case Field::TcpDestination:
      return {"tcp dport", TransportHeader, 2, 2, 0, IPPROTO_TCP};
    case Field::TcpFlags:
      return {"tcp flags", TransportHeader, 13, 1, 0, IPPROTO_TCP};
    case Field::UdpSource:
      return {"udp sport", TransportHeader, 0, 2, 0, IPPROTO_UDP};
    case Field::UdpDestination:
      return {"udp dport", TransportHeader, 2, 2, 0, IPPROTO_UDP};
    case Field::Icmp6Type:
      return {"icmpv6 type", TransportHeader, 0, 1, 6, IPPROTO_ICMPV6};
    case Field::ArpSource:
      return {"arp saddr ip", NetworkHeader, 14, 4, 0, 0};
    case Field::ArpDestination:
      return {"arp daddr ip", NetworkHeader, 24, 4, 0, 0};
    case Field::InLink:
    case Field::OutLink:
    case Field::InLinkName:
    case Field::OutLinkName:
    case Field::L4Proto:
    case Field::EtherType:
    case Field::SocketUid:
    case Field::SocketCgroup:
    case Field::PacketMark:
    case Field::RouteClass:
    case Field::ConnectionMark:
    case Field::ConnectionState:
    case Field::DestinationType:
    case Field::SourceType:
      break;
  }
  return {};
}

}  // namespace

FieldInfo info(Field field) noexcept {
  switch (field) {
    case Field::InLink:
      return {"iif", Meta, NFT_META_IIF, 4, 0, 0};
    case Field::OutLink:
      return {"oif", Meta, NFT_META_OIF, 4, 0, 0};
    case Field::InLinkName:
      return {"iifname", Meta, NFT_META_IIFNAME, 16, 0, 0};
    case Field::OutLinkName:
      return {"oifname", Meta, NFT_META_OIFNAME, 16, 0, 0};
    case Field::L4Proto:
      return {"meta l4proto", Meta, NFT_META_L4PROTO, 1, 0, 0};
    case Field::EtherType:
      return {"meta protocol", Meta, NFT_META_PROTOCOL, 2, 0, 0};
    case Field::SocketUid:
      return {"meta skuid", Meta, NFT_META_SKUID, 4, 0, 0};
    case Field::SocketCgroup:
      return {"socket cgroupv2 level 1", FieldSource::Socket, 1, 8, 0, 0};
    case Field::PacketMark:
      return {"meta mark", Meta, NFT_META_MARK, 4, 0, 0};
    case Field::RouteClass:
      return {"meta rtclassid", Meta, NFT_META_RTCLASSID, 4, 0, 0};
    case Field::ConnectionMark:
      return {"ct mark", Conntrack, NFT_CT_MARK, 4, 0, 0};
    case Field::ConnectionState:
      return {"ct state", Conntrack, NFT_CT_STATE, 4, 0, 0};
    case Field::DestinationType:
      return {"fib daddr type", Fib, NFTA_FIB_F_DADDR, 4, 0, 0};
    case Field::SourceType:
      return {"fib saddr type", Fib, NFTA_FIB_F_SADDR, 4, 0, 0};
    case Field::Ip4Source:
    case Field::Ip4Destination:
    case Field::Ip6Source:
    case Field::Ip6Destination:
    case Field::Ip6HopLimit:
    case Field::TcpSource:
    case Field::TcpDestination:
    case Field::TcpFlags:
    case Field::UdpSource:
    case Field::UdpDestination:
    case Field::Icmp6Type:
    case Field::ArpSource:
    case Field::ArpDestination:
      break;
  }
  return packet_field(field);
}

}  // namespace proxyvpn::firewall
