#include "tun/tun_device.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace proxyvpn::tun {
namespace {

constexpr char kNode[] = "/dev/net/tun";

tl::unexpected<Error> explain_open(int err) {
  if (err == EACCES || err == EPERM) {
    return fail_errno(
        err, std::string("open ") + kNode +
                 " (it should be mode 0666; try: chmod 0666 /dev/net/tun, or run as root)");
  }
  if (err == ENOENT || err == ENODEV || err == ENXIO) {
    return fail_errno(
        err,
        std::string("open ") + kNode +
            " (no TUN driver; try: modprobe tun, or give the container --device /dev/net/tun)");
  }
  return fail_errno(err, std::string("open ") + kNode);
}

Result<UniqueFd> open_queue(const std::string& name, bool multi_queue, bool vnet_header) {
  UniqueFd fd(::open(kNode, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return explain_open(errno);
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  unsigned flags = IFF_TUN | IFF_NO_PI;
  if (vnet_header) flags |= IFF_VNET_HDR;
  if (multi_queue) flags |= IFF_MULTI_QUEUE;
  request.ifr_flags = static_cast<short>(flags);
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0) {
    return fail_errno(errno, "create TUN device '" + name + "' (TUNSETIFF)");
  }
  return fd;
}

// The best offloads that the kernel takes on this queue.
Offloads negotiate(int fd, bool vnet_header) {
  Offloads got{vnet_header, false, false};
  if (!vnet_header) return got;
  int size = kVnetHeader;
  // Failure means that 10 bytes is the only size, which is the one we use.
  (void)::ioctl(fd, TUNSETVNETHDRSZ, &size);
  if (::ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) == 0) {
    got.checksum = got.segmentation = true;
  } else if (::ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM) == 0) {
    got.checksum = true;
  }
  return got;
}

IoStatus status_of(int err) noexcept {
  // EIO: the link is down for the moment; ENOBUFS, ENOMEM: so is the queue or the memory.
  if (err == EAGAIN || err == EINTR || err == ENOBUFS || err == ENOMEM) return IoStatus::WouldBlock;
  return IoStatus::Failed;
}

}  // namespace

Result<TunQueues> create_tun(const std::string& name, unsigned queues, bool offload) {
  TunQueues out;
  for (unsigned i = 0; i < queues; ++i) {
    auto fd = open_queue(name, queues > 1, offload);
    if (!fd && offload && i == 0 && fd.error().sys_errno == EINVAL) {
      offload = false;  // a kernel without IFF_VNET_HDR
      fd = open_queue(name, queues > 1, false);
    }
    if (!fd) return tl::unexpected<Error>(fd.error());
    out.offloads = negotiate(fd->get(), offload);
    out.queues.push_back(std::move(*fd));
  }
  return out;
}

IoStatus TunDevice::read(std::span<std::uint8_t> buffer, std::size_t* length) noexcept {
  const ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
  if (n < 0) return status_of(errno);
  if (n == 0) return IoStatus::Eof;
  *length = static_cast<std::size_t>(n);
  return IoStatus::Ok;
}

IoStatus TunDevice::write(std::span<const iovec> pieces) noexcept {
  const ssize_t n = ::writev(fd_.get(), pieces.data(), static_cast<int>(pieces.size()));
  return n < 0 ? status_of(errno) : IoStatus::Ok;
}

}  // namespace proxyvpn::tun
