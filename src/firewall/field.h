#pragma once
// What a rule can look at, and how nf_tables gets at it (linux/netfilter/nf_tables.h).
#include <cstdint>

namespace proxyvpn::firewall {

// Ip and Ip6 are iptables-nft's; our own tables are of the other three.
enum class TableFamily : std::uint8_t { Inet, Arp, Netdev, Ip, Ip6 };

enum class Field : std::uint8_t {
  InLink,          // index; compared with lo (always 1) only
  OutLink,         // index
  InLinkName,      // 16 bytes, zero padded
  OutLinkName,     // 16 bytes, zero padded
  L4Proto,         // 1 byte
  EtherType,       // 2 bytes, network order
  SocketUid,       // 4 bytes, host order, like all of meta and ct
  SocketCgroup,    // 8 bytes, host order: id of the group (cgroup v2) right below the root
  PacketMark,      // 4 bytes
  RouteClass,      // 4 bytes; a packet without a route (AF_PACKET, bridged) never matches
  ConnectionMark,  // 4 bytes
  ConnectionState,
  DestinationType,  // fib daddr type
  SourceType,       // fib saddr type
  Ip4Source,
  Ip4Destination,
  Ip6Source,
  Ip6Destination,
  Ip6HopLimit,
  TcpSource,
  TcpDestination,
  TcpFlags,
  UdpSource,
  UdpDestination,
  Icmp6Type,
  ArpSource,       // sender's IPv4 address
  ArpDestination,  // target's IPv4 address
};

enum class FieldSource : std::uint8_t {
  Meta,
  Socket,
  Conntrack,
  Fib,
  NetworkHeader,
  TransportHeader
};

struct FieldInfo {
  const char* name = "";  // nft(8)
  FieldSource source = FieldSource::Meta;
  // NFT_META_*, NFT_CT_*, NFTA_FIB_F_*, the level of the group, or the offset in the header
  std::uint32_t key = 0;
  std::uint32_t length = 0;     // bytes
  std::uint8_t ip_version = 0;  // 4 or 6: only in packets of this version
  std::uint8_t protocol = 0;    // IPPROTO_*: only in packets of this protocol
};

// Never fails: every enumerator has its row.
FieldInfo info(Field field) noexcept;

}  // namespace proxyvpn::firewall
