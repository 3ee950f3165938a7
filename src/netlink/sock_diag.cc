#include "netlink/sock_diag.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "netlink/netlink_socket.h"

namespace proxyvpn::netlink {
namespace {

constexpr std::uint32_t kListening = 1u << TCP_LISTEN;
constexpr std::uint32_t kNewSynRecv = 1u << 12;  // TCP_NEW_SYN_RECV, the kernel's own number
constexpr std::uint32_t kConnected = (1u << TCP_ESTABLISHED) | (1u << TCP_SYN_SENT) |
                                     (1u << TCP_SYN_RECV) | kNewSynRecv | (1u << TCP_FIN_WAIT1) |
                                     (1u << TCP_FIN_WAIT2) | (1u << TCP_CLOSE_WAIT) |
                                     (1u << TCP_LAST_ACK) | (1u << TCP_CLOSING);

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::array<std::uint8_t, 16> kUnspecified6{};

struct Flow {
  Endpoint local;
  Endpoint remote;
  friend bool operator==(const Flow&, const Flow&) = default;
};
struct FlowHash {
  std::size_t operator()(const Flow& flow) const noexcept {
    const std::size_t one = std::hash<Endpoint>()(flow.local);
    return one * 31 + std::hash<Endpoint>()(flow.remote);
  }
};

// ::ffff:192.0.2.1 as 192.0.2.1
IpAddress unmapped(const IpAddress& address) {
  const auto bytes = address.bytes();
  if (!address.is_v6() || !std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin()))
    return address;
  return IpAddress::v4(bytes.subspan<12, 4>());
}

Endpoint endpoint(int family, const std::uint32_t (&words)[4], std::uint16_t port) {
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), words, sizeof words);
  const std::span<const std::uint8_t, 16> all(bytes);
  return {family == AF_INET6 ? unmapped(IpAddress::v6(all)) : IpAddress::v4(all.first<4>()),
          ntohs(port)};
}

// Both families in one walk over the kernel's table, which takes milliseconds where it is large:
// the request of before Linux 3.3 can say AF_UNSPEC, SOCK_DIAG_BY_FAMILY cannot.
Message request(std::uint32_t states) {
  inet_diag_req body{};
  body.idiag_family = AF_UNSPEC;
  body.idiag_states = states;
  Message message(TCPDIAG_GETSOCK, 0);
  message.header(body);
  return message;
}

std::optional<TcpSocket> parse_socket(const nlmsghdr* message) {
  const auto* body = header_of<inet_diag_msg>(message);
  if (body == nullptr) return {};
  const Attributes<INET_DIAG_MAX> attributes(message, sizeof(inet_diag_msg));
  TcpSocket socket;
  socket.local = endpoint(body->idiag_family, body->id.idiag_src, body->id.idiag_sport);
  socket.remote = endpoint(body->idiag_family, body->id.idiag_dst, body->id.idiag_dport);
  socket.uid = body->idiag_uid;
  socket.inode = body->idiag_inode;
  socket.mark = attributes.u32(INET_DIAG_MARK).value_or(0);
  socket.device = body->id.idiag_if;
  socket.cookie =
      std::uint64_t{body->id.idiag_cookie[1]} << 32 | std::uint64_t{body->id.idiag_cookie[0]};
  return socket;
}

// [::] without IPV6_V6ONLY
bool takes_both(const nlmsghdr* message) {
  const Attributes<INET_DIAG_MAX> attributes(message, sizeof(inet_diag_msg));
  return attributes.u8(INET_DIAG_SKV6ONLY).value_or(0) == 0;
}

void leave_out_own(std::vector<TcpSocket>& sockets) {
  std::unordered_set<Flow, FlowHash> flows;
  flows.reserve(sockets.size());
  for (const TcpSocket& socket : sockets) flows.insert({socket.local, socket.remote});
  const auto own = [&flows](const TcpSocket& socket) {
    return (socket.local.address.is_loopback() && socket.remote.address.is_loopback()) ||
           flows.contains({socket.remote, socket.local});
  };
  sockets.erase(std::remove_if(sockets.begin(), sockets.end(), own), sockets.end());
}

class LibnlSocketDiag final : public SocketDiag {
 public:
  explicit LibnlSocketDiag(NetlinkSocket socket) : socket_(std::move(socket)) {}

  Result<std::vector<TcpSocket>> connected() override;
  Result<std::vector<Endpoint>> listeners() override;
  Result<> destroy(const TcpSocket& socket) override;

 private:
  Result<> dump(std::uint32_t states, const std::string& doing, const NetlinkSocket::Visit& visit,
                const std::function<void()>& restart);

  NetlinkSocket socket_;
};

Result<> LibnlSocketDiag::dump(std::uint32_t states, const std::string& doing,
                               const NetlinkSocket::Visit& visit,
                               const std::function<void()>& restart) {
  Message message = request(states);
  auto result = socket_.dump(message, doing, visit, restart);
  if (!result &&
      (result.error().code == Code::NotFound || result.error().code == Code::Unsupported)) {
    result.error().code = Code::Unsupported;
    result.error().message += " (the kernel has no CONFIG_INET_DIAG, or can't load tcp_diag)";
  }
  return result;
}

Result<std::vector<TcpSocket>> LibnlSocketDiag::connected() {
  std::vector<TcpSocket> sockets;
  const auto result = dump(
      kConnected, "listing the machine's TCP connections",
      [&](const nlmsghdr* message) {
        if (auto socket = parse_socket(message)) sockets.push_back(*socket);
      },
      [] {});  // the kernel doesn't say so of sockets; what is seen twice is harmless
  if (!result) return tl::unexpected(result.error());
  leave_out_own(sockets);
  return sockets;
}

Result<std::vector<Endpoint>> LibnlSocketDiag::listeners() {
  std::vector<Endpoint> endpoints;
  const auto result = dump(
      kListening, "listing the machine's TCP listeners",
      [&](const nlmsghdr* message) {
        const auto socket = parse_socket(message);
        if (!socket) return;
        endpoints.push_back(socket->local);
        if (socket->local.address.is_v6() && socket->local.address.is_unspecified() &&
            takes_both(message))
          endpoints.push_back({IpAddress(), socket->local.port});
      },
      [] {});
  if (!result) return tl::unexpected(result.error());
  std::sort(endpoints.begin(), endpoints.end());
  endpoints.erase(std::unique(endpoints.begin(), endpoints.end()), endpoints.end());
  return endpoints;
}

// An IPv4-mapped socket is found under its IPv4 addresses, as packets find it.
Result<> LibnlSocketDiag::destroy(const TcpSocket& socket) {
  inet_diag_req_v2 body{};
  body.sdiag_family = static_cast<std::uint8_t>(socket.local.address.af());
  body.sdiag_protocol = IPPROTO_TCP;
  body.id.idiag_sport = htons(socket.local.port);
  body.id.idiag_dport = htons(socket.remote.port);
  const auto from = socket.local.address.bytes();
  const auto to = socket.remote.address.bytes();
  std::memcpy(body.id.idiag_src, from.data(), from.size());
  std::memcpy(body.id.idiag_dst, to.data(), to.size());
  body.id.idiag_if = socket.device;
  body.id.idiag_cookie[0] = static_cast<std::uint32_t>(socket.cookie);
  body.id.idiag_cookie[1] = static_cast<std::uint32_t>(socket.cookie >> 32);
  Message message(SOCK_DESTROY, 0);
  message.header(body);
  auto result = socket_.request(message, "cutting the connection " + to_string(socket.local) +
                                             " -> " + to_string(socket.remote));
  // ESTALE: another socket has these addresses by now.
  if (!result && (result.error().sys_errno == ENOENT || result.error().sys_errno == ESTALE))
    return {};
  if (!result && result.error().code == Code::Unsupported)
    result.error().message += " (the kernel has no CONFIG_INET_DIAG_DESTROY)";
  return result;
}

}  // namespace

Result<std::unique_ptr<SocketDiag>> open_socket_diag() {
  auto socket = NetlinkSocket::open(NETLINK_SOCK_DIAG);
  if (!socket) return wrap(socket.error(), "opening the door to the machine's sockets");
  return std::make_unique<LibnlSocketDiag>(std::move(*socket));
}

std::vector<TcpSocket> inbound(const std::vector<TcpSocket>& connected,
                               const std::vector<Endpoint>& listeners) {
  const std::unordered_set<Endpoint> listening(listeners.begin(), listeners.end());
  const auto any_of_family = [](const Endpoint& local) {
    return Endpoint{local.address.is_v6() ? IpAddress::v6(kUnspecified6) : IpAddress(), local.port};
  };
  std::vector<TcpSocket> found;
  for (const TcpSocket& socket : connected) {
    if (listening.contains(socket.local) || listening.contains(any_of_family(socket.local)))
      found.push_back(socket);
  }
  return found;
}

}  // namespace proxyvpn::netlink
