#pragma once
// Servers on 127.0.0.1 that do as a test's script says, each on a thread of its own. Every wait of
// theirs ends after kPatience, so that a wrong script fails and never hangs.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "base/unique_fd.h"

namespace proxyvpn::probe::testing {

using Bytes = std::vector<std::uint8_t>;
inline constexpr int kPatience = 20;  // seconds

inline Bytes to_bytes(std::string_view text) { return {text.begin(), text.end()}; }

// One accepted TCP connection, or the one UDP socket.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {
    const timeval limit{kPatience, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  [[nodiscard]] int fd() const { return fd_; }

  // TCP.
  void send(std::string_view text) const { send(to_bytes(text)); }
  void send(const Bytes& bytes) const {
    EXPECT_EQ(static_cast<ssize_t>(bytes.size()),
              ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
  }
  // A request head with its empty line.
  [[nodiscard]] std::string read_head() const {
    std::string head;
    char one = 0;
    while (!head.ends_with("\r\n\r\n") && ::recv(fd_, &one, 1, 0) == 1) head += one;
    return head;
  }
  // A DNS message behind its length.
  [[nodiscard]] Bytes read_message() const {
    const auto length = read_exactly(2);
    if (length.size() < 2) return {};
    return read_exactly(static_cast<std::size_t>(length[0] << 8 | length[1]));
  }
  void read_to_end() const {
    char buffer[512];
    while (::recv(fd_, buffer, sizeof buffer, 0) > 0) {
    }
  }

  // UDP.
  Bytes receive_from(SocketAddress& from) const {
    Bytes out(2048);
    from.length = sizeof from.storage;
    const auto got = ::recvfrom(fd_, out.data(), out.size(), 0,
                                reinterpret_cast<sockaddr*>(&from.storage), &from.length);
    out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return out;
  }
  void send_to(const SocketAddress& to, const Bytes& bytes) const {
    EXPECT_EQ(static_cast<ssize_t>(bytes.size()),
              ::sendto(fd_, bytes.data(), bytes.size(), 0, to.get(), to.length));
  }

 private:
  [[nodiscard]] Bytes read_exactly(std::size_t size) const {
    Bytes out(size);
    const auto got = ::recv(fd_, out.data(), size, MSG_WAITALL);
    out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return out;
  }
  int fd_;
};

// Bound to a port of the kernel's choice (or a given one) before the thread starts.
class Server {
 public:
  using Script = std::function<void(const Peer&)>;

  // TCP: one connection after the other, each with its script, then closed. UDP: one script, which
  // has the socket.
  static Server tcp(std::vector<Script> scripts, std::uint16_t port = 0) {
    return Server(SOCK_STREAM, std::move(scripts), port);
  }
  static Server udp(Script script, std::uint16_t port = 0) {
    std::vector<Script> scripts;
    scripts.push_back(std::move(script));
    return Server(SOCK_DGRAM, std::move(scripts), port);
  }
  Server(Server&&) = default;
  ~Server() {
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] Endpoint endpoint() const { return endpoint_; }

 private:
  Server(int type, std::vector<Script> scripts, std::uint16_t port)
      : fd_(::socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    const auto address = to_sockaddr(Endpoint{IpAddress::v4(0x7f000001), port});
    EXPECT_EQ(0, ::bind(fd_.get(), address.get(), address.length));
    SocketAddress bound;
    bound.length = sizeof bound.storage;
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.length);
    endpoint_ = from_sockaddr(bound.get(), bound.length).value_or(Endpoint{});
    const timeval limit{kPatience, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(0, ::listen(fd_.get(), 16));
    }
    thread_ = std::thread([fd = fd_.get(), type, todo = std::move(scripts)] {
      for (const auto& script : todo) {
        if (type == SOCK_DGRAM) {
          script(Peer(fd));
          continue;
        }
        const UniqueFd connection(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
        EXPECT_TRUE(connection.valid()) << "nobody connected in time";
        if (connection) script(Peer(connection.get()));
      }
    });
  }
  UniqueFd fd_;
  Endpoint endpoint_;
  std::thread thread_;
};

// `query` answered with these flags (0x8180: NOERROR) and one A record per address.
inline Bytes answer_to(const Bytes& query, std::vector<IpAddress> addresses, int flags = 0x8180) {
  Bytes out = query;
  if (out.size() < 12) return out;
  out[2] = static_cast<std::uint8_t>(flags >> 8);
  out[3] = static_cast<std::uint8_t>(flags & 0xff);
  out[7] = static_cast<std::uint8_t>(addresses.size());
  for (const auto& address : addresses) {
    const auto bytes = address.bytes();
    const auto type = static_cast<std::uint8_t>(address.is_v4() ? 1 : 28);
    out.insert(out.end(),
               {0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, static_cast<std::uint8_t>(bytes.size())});
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

}  // namespace proxyvpn::probe::testing
