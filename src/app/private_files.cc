#include "app/private_files.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

constexpr char kResolvConf[] = "/etc/resolv.conf";
// Covered for a moment to make the file in memory; nobody else sees this mount namespace.
constexpr char kWorkplace[] = "/tmp";
constexpr char kFileName[] = "resolv.conf";
// NSS modules and libc ask these daemons over sockets that lie in the file system, and so not in
// the network namespace: systemd-resolved, nscd, Avahi.
constexpr std::string_view kResolved = "/run/systemd/resolve";
constexpr std::string_view kDaemons[] = {kResolved, "/run/nscd", "/var/run/nscd",
                                         "/run/avahi-daemon"};

Result<> write_text(int directory, const char* name, const std::string& text) {
  const UniqueFd file(
      ::openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  const auto size = static_cast<ssize_t>(text.size());
  if (!file || ::write(file.get(), text.data(), text.size()) != size) {
    return fail_errno(errno, std::string("writing a private ") + name);
  }
  ::fchmod(file.get(), 0644);  // whatever the umask says
  return {};
}

Result<> mount_memory(const char* where) {
  if (::mount("proxyvpn", where, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m,mode=0755") !=
      0) {
    return fail_errno(errno, std::string("mounting a tmpfs over ") + where);
  }
  return {};
}

struct Free {
  void operator()(char* text) const noexcept { std::free(text); }
};

// The directory of systemd-resolved stays, with our text in both of its files: /etc/resolv.conf is
// often a link to one of them.
Result<> cover_daemons(const std::string& text) {
  for (const auto directory : kDaemons) {
    const std::string path(directory);
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) continue;
    if (auto mounted = mount_memory(path.c_str()); !mounted) return mounted;
    if (directory != kResolved) continue;
    const UniqueFd opened(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (const char* name : {"resolv.conf", "stub-resolv.conf"}) {
      if (auto written = write_text(opened.get(), name, text); !written) return written;
    }
  }
  return {};
}

// A file in memory, open, whose mount is gone from the tree again.
Result<> bind_over(const std::string& target, const std::string& text) {
  // Open before the workplace is covered, in case it lies there.
  const UniqueFd place(::open(target.c_str(), O_PATH | O_CLOEXEC));
  if (!place) return fail_errno(errno, "open " + target);
  if (auto mounted = mount_memory(kWorkplace); !mounted) return mounted;
  const UniqueFd directory(::open(kWorkplace, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (auto written = write_text(directory.get(), kFileName, text); !written) return written;
  const std::string source = std::string(kWorkplace) + "/" + kFileName;
  const std::string over = "/proc/self/fd/" + std::to_string(place.get());
  if (::mount(source.c_str(), over.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return fail_errno(errno, "mounting a private file over " + target);
  }
  if (::umount2(kWorkplace, MNT_DETACH) != 0) {
    return fail_errno(errno, std::string("umount ") + kWorkplace);
  }
  return {};
}

}  // namespace

Result<> mount_private_files(const std::string& resolv_conf) {
  // Ours stay ours; what is mounted on the machine later still comes here.
  if (::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) {
    return fail_errno(errno, "making the mounts private");
  }
  // Before it is resolved: a link into the directory of systemd-resolved leads to our file then.
  if (auto covered = cover_daemons(resolv_conf); !covered) return covered;
  const std::unique_ptr<char, Free> target(::realpath(kResolvConf, nullptr));
  if (!target) {
    const int err = errno;
    return fail(Code::NotFound, fail_errno(err, kResolvConf).value().message +
                                    ": the command needs a file there that can be covered by a "
                                    "private one; as root: touch /etc/resolv.conf");
  }
  if (std::string_view(target.get()).starts_with(kResolved)) return {};
  return bind_over(target.get(), resolv_conf);
}

}  // namespace proxyvpn::app
