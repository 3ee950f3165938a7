#pragma once
// Descriptors that travel beside the bytes of a unix(7) socket (SCM_RIGHTS).
#include <sys/types.h>

#include <cstddef>
#include <span>
#include <vector>

#include "base/unique_fd.h"

namespace proxyvpn::app {

inline constexpr std::size_t kMostPassed = 128;  // with one message; SCM_MAX_FD is 253

// sendmsg(2) that never waits and raises no SIGPIPE. EMSGSIZE: more than kMostPassed.
ssize_t send_with(int socket, std::span<const std::byte> bytes,
                  std::span<const int> descriptors) noexcept;

struct BytesReceived {
  ssize_t size = 0;  // as recvmsg(2) answers
  bool cut = false;  // a datagram that was longer than the room for it
};
// recvmsg(2) that never waits. Every descriptor that came is put behind `descriptors`, also of a
// message that is refused afterwards; the kernel closes those above `most`, which is at most
// kMostPassed.
BytesReceived receive_with(int socket, std::span<std::byte> bytes, std::size_t most,
                           std::vector<UniqueFd>& descriptors);

}  // namespace proxyvpn::app
