#include "app/passed_descriptors.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace proxyvpn::app {
namespace {

using ControlBuffer = std::array<std::uint8_t, CMSG_SPACE(kMostPassed * sizeof(int))>;

msghdr header_for(iovec& vector) noexcept {
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  return header;
}

void take_descriptors(msghdr& header, std::vector<UniqueFd>& descriptors) {
  for (auto* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      descriptors.emplace_back(fd);
    }
  }
}

}  // namespace

ssize_t send_with(int socket, std::span<const std::byte> bytes,
                  std::span<const int> descriptors) noexcept {
  if (descriptors.size() > kMostPassed) {
    errno = EMSGSIZE;
    return -1;
  }
  // sendmsg(2) reads only; its interface has no const.
  iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) ControlBuffer control{};
  msghdr header = header_for(vector);
  if (!descriptors.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    auto* const c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(c), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

BytesReceived receive_with(int socket, std::span<std::byte> bytes, std::size_t most,
                           std::vector<UniqueFd>& descriptors) {
  iovec vector{bytes.data(), bytes.size()};
  alignas(cmsghdr) ControlBuffer control{};
  msghdr header = header_for(vector);
  header.msg_control = control.data();
  header.msg_controllen = CMSG_SPACE(std::min(most, kMostPassed) * sizeof(int));
  BytesReceived received;
  do {
    received.size = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (received.size < 0 && errno == EINTR);
  if (received.size < 0) return received;
  take_descriptors(header, descriptors);
  received.cut = (header.msg_flags & MSG_TRUNC) != 0;
  return received;
}

}  // namespace proxyvpn::app
