#include "app/private_network.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "app/capabilities.h"
#include "app/private_files.h"
#include "app/worker_protocol.h"
#include "netlink/routing.h"
#include "tun/tun_device.h"

namespace proxyvpn::app {
namespace {

constexpr int kPatience = 20'000;  // milliseconds, for the other process to do its part
constexpr std::uint32_t kMainTable = 254;
constexpr std::uint8_t kNeedsIds = 'u';
constexpr std::uint8_t kHasIds = 'i';
constexpr std::uint8_t kTun = 't';

std::string read_setting(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096] = {};
  const ssize_t n = file ? ::read(file.get(), text, sizeof text - 1) : 0;
  std::string value(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!value.empty() && value.back() == '\n') value.pop_back();
  return value;
}

// Files of /proc take their whole content in one write(2).
Result<> write_file(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return fail_errno(errno, "open " + path);
  if (::write(file.get(), text.data(), text.size()) < 0) return fail_errno(errno, "write " + path);
  return {};
}

// The next message, or an error when there is none in time.
Result<Received> wait_for_message(int channel) {
  pollfd item{channel, POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&item, 1, kPatience);
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) return fail(Code::Timeout, "no answer in time");
  Received received = receive_message(channel);
  if (received.status != Received::Status::Message) {
    return fail(Code::NotFound, "the other process has ended");
  }
  return received;
}

Result<> send(int channel, std::span<const std::uint8_t> bytes, std::span<const int> fds = {}) {
  if (send_message(channel, bytes, fds)) return {};
  return fail_errno(errno, "telling the other process");
}

// May this process give a namespace more ids than its own?
bool may_map_all() {
  return ::geteuid() == 0 && read_capability_facts(CAP_SETUID).effective &&
         read_capability_facts(CAP_SETGID).effective;
}

// user_namespaces(7): an ordinary user may map itself alone, and must give up setgroups(2) before.
// Root maps everybody to itself, so that programs that change to another user work.
Result<> give_ids(pid_t child) {
  const std::string proc = "/proc/" + std::to_string(child) + "/";
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  std::string users = user + " " + user + " 1\n";
  std::string groups = group + " " + group + " 1\n";
  if (may_map_all()) {
    users = identity_map(read_setting("/proc/self/uid_map"));
    groups = identity_map(read_setting("/proc/self/gid_map"));
  } else if (auto denied = write_file(proc + "setgroups", "deny"); !denied) {
    return denied;
  }
  if (auto mapped = write_file(proc + "uid_map", users); !mapped) return mapped;
  return write_file(proc + "gid_map", groups);
}

Result<> ask_for_ids(int channel) {
  const std::uint8_t question[] = {kNeedsIds};
  if (auto sent = send(channel, question); !sent) return sent;
  const auto answer = wait_for_message(channel);
  if (!answer) return wrap(answer.error(), "waiting for the user ids of the namespace");
  if (answer->bytes.size() == 1 && answer->bytes[0] == kHasIds) return {};
  return fail(Code::System, "the user ids of the namespace could not be set");
}

Result<> make_namespaces(int channel) {
  // /proc/self of a process that must not be looked at belongs to root.
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  if (::unshare(CLONE_NEWUSER) != 0) {
    const int err = errno;
    return fail(Code::Permission, explain_namespaces(err, read_namespace_settings()));
  }
  if (auto mapped = ask_for_ids(channel); !mapped) return mapped;
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) {
    const int err = errno;
    return fail(Code::Permission, explain_namespaces(err, read_namespace_settings()));
  }
  return {};
}

Result<tun::TunQueues> make_tun(const std::string& name) {
  auto made = tun::create_tun(name, 1, true);
  if (made || made.error().code != Code::Permission) return made;
  return fail(Code::Permission,
              made.error().message + "; inside a user namespace its mode counts for root too");
}

// The TUN is the default route of both families. A kernel without IPv6 does without.
Result<> set_up_links(const PrivateNetwork& wanted) {
  if (auto up = raise_loopback(); !up) return up;
  auto routing = netlink::open_routing();
  if (!routing) return tl::unexpected(routing.error());
  netlink::LinkSetup link;
  link.name = wanted.tun_name;
  link.addresses = {wanted.addresses.tun_v4, wanted.addresses.tun_v6};
  auto set = (*routing)->set_up(link);
  if (!set && set.error().code != Code::Unsupported) return set;
  for (const Family family : {Family::V4, Family::V6}) {
    netlink::Route route;
    route.family = family;
    route.table = kMainTable;
    route.device = wanted.tun_name;
    auto added = (*routing)->add(route);
    const bool done_without =
        family == Family::V6 && !added && added.error().code == Code::Unsupported;
    if (!added && !done_without) return added;
  }
  return {};
}

Result<> hand_out(int channel, const tun::TunQueues& made) {
  const std::uint8_t message[] = {kTun, made.offloads.vnet_header, made.offloads.checksum,
                                  made.offloads.segmentation};
  const int descriptor[] = {made.queues.front().get()};
  return send(channel, message, descriptor);
}

Result<Outlet> take_tun(Received& message) {
  if (message.bytes.size() != 4 || message.descriptors.size() != 1) {
    return fail(Code::Protocol, "the new network namespace did not hand its device out");
  }
  Outlet outlet;
  outlet.tun = std::move(message.descriptors.front());
  outlet.offloads = {message.bytes[1] != 0, message.bytes[2] != 0, message.bytes[3] != 0};
  return outlet;
}

bool is_zero(const std::string& value) { return value == "0"; }

}  // namespace

Result<> raise_loopback() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (!socket || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) {
    return fail_errno(errno, "taking up the loopback device of the new network namespace");
  }
  return {};
}

PrivateAddresses::PrivateAddresses() {
  constexpr std::uint8_t kV6[16] = {0xfd, 0x70, 0x72, 0x78, 0x79, 0x76, 0, 0,
                                    0,    0,    0,    0,    0,    0,    0, 1};
  tun_v6 = {IpAddress::v6(kV6), 126};
}

std::string identity_map(const std::string& map) {
  std::istringstream lines(map);
  std::string out;
  unsigned long long inside = 0;
  unsigned long long outside = 0;
  unsigned long long count = 0;
  while (lines >> inside >> outside >> count) {
    const std::string first = std::to_string(inside);
    out.append(first).append(" ").append(first).append(" ");
    out.append(std::to_string(count)).append("\n");
  }
  return out;
}

NamespaceSettings read_namespace_settings() {
  const std::string proc = "/proc/sys/";
  NamespaceSettings settings;
  settings.unprivileged_clone = read_setting(proc + "kernel/unprivileged_userns_clone");
  settings.max_user = read_setting(proc + "user/max_user_namespaces");
  settings.max_net = read_setting(proc + "user/max_net_namespaces");
  settings.max_mnt = read_setting(proc + "user/max_mnt_namespaces");
  settings.apparmor = read_setting(proc + "kernel/apparmor_restrict_unprivileged_userns");
  return settings;
}

std::string explain_namespaces(int err, const NamespaceSettings& settings) {
  const std::string what =
      std::string("this machine gives the command no network of its own (unshare: ") +
      ::strerror(err) + "); ";
  const auto say = [&](const std::string& setting, const std::string& value) {
    return what + setting + " forbids it; as root: sysctl -w " + setting + "=" + value;
  };
  if (is_zero(settings.unprivileged_clone)) return say("kernel.unprivileged_userns_clone", "1");
  if (is_zero(settings.max_user)) return say("user.max_user_namespaces", "10000");
  if (is_zero(settings.max_net)) return say("user.max_net_namespaces", "10000");
  if (is_zero(settings.max_mnt)) return say("user.max_mnt_namespaces", "10000");
  if (settings.apparmor == "1" && (err == EPERM || err == EACCES)) {
    return what +
           "AppArmor forbids it: give proxyvpn a profile with 'userns,' or, as root, "
           "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
  }
  if (err == ENOSPC || err == EUSERS) {
    return what + "too many namespaces are in use: see the user.max_*_namespaces settings";
  }
  return what +
         "a container's seccomp filter, a chroot or another security module forbids user "
         "namespaces here";
}

Result<> enter_private_network(const PrivateNetwork& wanted, int channel) {
  if (auto made = make_namespaces(channel); !made) return made;
  auto made = make_tun(wanted.tun_name);
  if (!made) return tl::unexpected(made.error());
  if (auto up = set_up_links(wanted); !up) return up;
  if (auto mounted = mount_private_files(wanted.resolv_conf); !mounted) return mounted;
  return hand_out(channel, *made);
}

Result<Outlet> welcome(pid_t child, int channel) {
  for (;;) {
    auto message = wait_for_message(channel);
    if (!message) return tl::unexpected(message.error());
    if (message->bytes.size() != 1 || message->bytes[0] != kNeedsIds) return take_tun(*message);
    if (auto given = give_ids(child); !given) return tl::unexpected(given.error());
    const std::uint8_t answer[] = {kHasIds};
    if (auto sent = send(channel, answer); !sent) return tl::unexpected(sent.error());
  }
}

}  // namespace proxyvpn::app
