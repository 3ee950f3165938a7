#include "app/state_dir.h"

#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace proxyvpn::app {
namespace {

constexpr mode_t kDirectoryMode = 02750;  // what is made in it has its group
constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

tl::unexpected<Error> open_problem(const std::string& path, int err) {
  // ELOOP and ENOTDIR of open(2) with O_NOFOLLOW|O_DIRECTORY read badly for a person.
  if (err == ELOOP || err == ENOTDIR) {
    return fail(Code::InvalidArgument,
                "state directory " + path + " is a symbolic link or not a directory");
  }
  return fail_errno(err, "state directory " + path);
}

Result<> judge(const struct stat& info, const std::string& path) {
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return fail(Code::Permission, "state directory " + path + " belongs to user " +
                                      std::to_string(info.st_uid) +
                                      ": use another one with --state-dir");
  }
  const auto group = install_group();
  const bool group_may_write = (info.st_mode & S_IWGRP) != 0 && group != info.st_gid &&
                               info.st_gid != ::getegid() && info.st_gid != 0;
  if ((info.st_mode & S_IWOTH) != 0 || group_may_write) {
    return fail(Code::Permission,
                "state directory " + path + " can be written to by others: chmod go-w " + path);
  }
  return {};
}

Result<> write_all(int fd, std::string_view content, const std::string& what) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, what);
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

std::optional<gid_t> find_install_group() {
  struct group entry {};
  struct group* found = nullptr;
  std::vector<char> buffer(16 * 1024);
  if (::getgrnam_r(kInstallGroup, &entry, buffer.data(), buffer.size(), &found) != 0 || !found) {
    return std::nullopt;
  }
  return entry.gr_gid;
}

}  // namespace

std::optional<gid_t> install_group() {
  static const std::optional<gid_t> known = find_install_group();
  return known;
}

Result<StateDir> StateDir::open_or_make(const std::string& path) {
  bool made = false;
  if (::mkdir(path.c_str(), kDirectoryMode) == 0) {
    made = true;
  } else if (errno != EEXIST) {
    return fail_errno(errno, "making state directory " + path);
  }
  UniqueFd directory(::open(path.c_str(), kDirectoryFlags));
  if (!directory) return open_problem(path, errno);
  if (made) {
    const auto group = install_group();
    if (group && ::fchown(directory.get(), static_cast<uid_t>(-1), *group) != 0) {
      // We are not in the group: only root and we ourselves may command then.
    }
    if (::fchmod(directory.get(), kDirectoryMode) != 0) {
      return fail_errno(errno, "mode of state directory " + path);
    }
  }
  struct stat info {};
  if (::fstat(directory.get(), &info) != 0) return fail_errno(errno, "state directory " + path);
  if (auto good = judge(info, path); !good) return tl::unexpected(good.error());
  return StateDir(std::move(directory), path, made);
}

Result<StateDir> StateDir::open_existing(const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return open_problem(path, errno);
  return StateDir(std::move(directory), path, false);
}

Result<> StateDir::write_file(const std::string& name, std::string_view content) const {
  const std::string what = "writing " + path_ + "/" + name;
  const std::string temporary = name + ".new";
  ::unlinkat(fd(), temporary.c_str(), 0);  // of a run that died here
  UniqueFd file(::openat(fd(), temporary.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640));
  if (!file) return fail_errno(errno, what);
  if (auto written = write_all(file.get(), content, what); !written) {
    ::unlinkat(fd(), temporary.c_str(), 0);
    return written;
  }
  share_with_group(temporary, 0640);
  if (::renameat(fd(), temporary.c_str(), fd(), name.c_str()) != 0) {
    const int err = errno;
    ::unlinkat(fd(), temporary.c_str(), 0);
    return fail_errno(err, what);
  }
  return {};
}

Result<std::string> StateDir::read_file(const std::string& name, std::size_t limit) const {
  const std::string what = "reading " + path_ + "/" + name;
  // O_NONBLOCK: a FIFO that somebody put here must not stop us.
  UniqueFd file(::openat(fd(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) return fail_errno(errno, what);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail_errno(errno, what);
  if (!S_ISREG(info.st_mode)) return fail(Code::InvalidArgument, what + ": not a regular file");
  std::string content(limit + 1, '\0');
  std::size_t length = 0;
  while (length < content.size()) {
    const ssize_t n = ::read(file.get(), content.data() + length, content.size() - length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, what);
    if (n == 0) break;
    length += static_cast<std::size_t>(n);
  }
  if (length > limit) return fail(Code::InvalidArgument, what + ": too long");
  content.resize(length);
  return content;
}

Result<> StateDir::remove_file(const std::string& name) const {
  if (::unlinkat(fd(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
  return fail_errno(errno, "removing " + path_ + "/" + name);
}

void StateDir::share_with_group(const std::string& name, mode_t mode) const noexcept {
  const auto group = install_group();
  const bool given = group && ::fchownat(fd(), name.c_str(), static_cast<uid_t>(-1), *group,
                                         AT_SYMLINK_NOFOLLOW) == 0;
  // With optimisation and _FORTIFY_SOURCE glibc wants this looked at; a failure is no error here.
  if (given && ::fchmodat(fd(), name.c_str(), mode, 0) != 0) return;
}

void StateDir::remove_if_made() noexcept {
  if (made_) ::rmdir(path_.c_str());
}

std::optional<std::string> user_state_dir(uid_t uid) {
  // Not secure_getenv(3): a binary with file capabilities would never see it. What the variable
  // says is checked instead.
  const char* const base = ::getenv("XDG_RUNTIME_DIR");
  if (!base || base[0] != '/') return std::nullopt;
  struct stat info {};
  if (::lstat(base, &info) != 0 || !S_ISDIR(info.st_mode)) return std::nullopt;
  if (info.st_uid != uid || (info.st_mode & 077) != 0) return std::nullopt;
  return std::string(base) + "/proxyvpn";
}

std::vector<std::string> candidate_state_dirs(const std::string& configured, uid_t uid) {
  std::vector<std::string> found{configured};
  const auto add = [&found](std::string path) {
    if (std::find(found.begin(), found.end(), path) == found.end()) {
      found.push_back(std::move(path));
    }
  };
  if (configured != kDefaultStateDir) return found;
  if (const auto own = user_state_dir(uid)) add(*own);
  if (uid == 0) {
    glob_t matches{};
    if (::glob("/run/user/*/proxyvpn", GLOB_NOSORT, nullptr, &matches) == 0) {
      for (std::size_t i = 0; i < matches.gl_pathc; ++i) add(matches.gl_pathv[i]);
    }
    ::globfree(&matches);
  }
  return found;
}

Result<InstanceLock> InstanceLock::take(const StateDir& directory) {
  const std::string what = "lock " + directory.path() + "/" + kLockName;
  for (int attempt = 0; attempt < 10; ++attempt) {
    UniqueFd file(
        ::openat(directory.fd(), kLockName, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640));
    if (!file) return fail_errno(errno, what);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (::fcntl(file.get(), F_SETLK, &lock) != 0) {
      if (errno != EACCES && errno != EAGAIN) return fail_errno(errno, what);
      lock.l_type = F_WRLCK;
      const bool known = ::fcntl(file.get(), F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
      return fail(Code::Busy, "another proxyvpn" +
                                  (known ? " (process " + std::to_string(lock.l_pid) + ")" : "") +
                                  " uses the state directory " + directory.path() +
                                  ": stop it with `proxyvpn down`, or give another --state-dir");
    }
    // The last holder may have removed the file between our open and our lock.
    struct stat ours {};
    struct stat there {};
    if (::fstat(file.get(), &ours) == 0 &&
        ::fstatat(directory.fd(), kLockName, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        ours.st_ino == there.st_ino && ours.st_dev == there.st_dev) {
      directory.share_with_group(kLockName, 0660);
      return InstanceLock(std::move(file));
    }
  }
  return fail(Code::Busy, what + ": another proxyvpn starts or stops at this moment");
}

std::optional<pid_t> InstanceLock::holder(const StateDir& directory) {
  UniqueFd file(
      ::openat(directory.fd(), kLockName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) return std::nullopt;
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(file.get(), F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK || lock.l_pid <= 0) {
    return std::nullopt;
  }
  return lock.l_pid;
}

}  // namespace proxyvpn::app
