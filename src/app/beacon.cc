#include "app/beacon.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <utility>

namespace proxyvpn::app {
namespace {

constexpr char kName[] = "proxyvpn-is-here";
constexpr int kBeaconBacklog = 8;

struct AbstractAddress {
  sockaddr_un address{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

AbstractAddress name() {
  AbstractAddress result;
  result.address.sun_family = AF_UNIX;
  std::memcpy(result.address.sun_path + 1, kName, sizeof kName - 1);
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + sizeof kName);
  return result;
}

}  // namespace

Result<std::unique_ptr<Beacon>> Beacon::open(event::Reactor& reactor) {
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto address = name();
  if (!listener || ::bind(listener.get(), address.get(), address.length) != 0 ||
      ::listen(listener.get(), kBeaconBacklog) != 0) {
    const int err = errno;
    if (err == EADDRINUSE) return fail(Code::Busy, "another process uses the name of the beacon");
    return fail_errno(err, "opening the beacon");
  }
  return std::unique_ptr<Beacon>(new Beacon(reactor, std::move(listener)));
}

Beacon::Beacon(event::Reactor& reactor, UniqueFd listener)
    : reactor_(reactor), listener_(std::move(listener)), handler_([this](std::uint32_t) {
        // Whoever came has seen what there is to see.
        while (UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC))) {
        }
      }) {
  reactor_.add(listener_.get(), EPOLLIN, handler_);
}

Beacon::~Beacon() { reactor_.remove(listener_.get(), handler_); }

std::optional<BeaconOwner> find_beacon() {
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto address = name();
  if (!socket || ::connect(socket.get(), address.get(), address.length) != 0) return std::nullopt;
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0 ||
      credentials.pid <= 0) {
    return std::nullopt;
  }
  BeaconOwner owner;
  owner.pid = credentials.pid;
  owner.uid = credentials.uid;
  owner.process = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, credentials.pid, 0)));
  return owner;
}

}  // namespace proxyvpn::app
