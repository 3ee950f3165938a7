#include "app/sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <vector>

#include "app/capabilities.h"
#include "app/directory.h"
#include "app/seccomp_filter.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

// For kernels before 5.9, which have no close_range(2).
Result<> close_listed(const std::vector<int>& keep) {
  const Directory directory(::opendir("/proc/self/fd"));
  if (!directory)
    return fail_errno(errno, "listing /proc/self/fd to close what a child may not have");
  std::vector<int> open;
  while (const dirent* entry = ::readdir(directory.get())) {
    const int fd = std::atoi(entry->d_name);
    const bool number = entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
    if (number && fd != ::dirfd(directory.get())) open.push_back(fd);
  }
  for (const int fd : open) {
    if (!std::binary_search(keep.begin(), keep.end(), fd)) ::close(fd);
  }
  return {};
}

// 0, 1 and 2 that are not kept point to /dev/null: a later descriptor with such a number would get
// what some library prints.
Result<> blank_standard_descriptors(std::span<const int> keep) {
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return fail_errno(errno, "opening /dev/null");
  for (int fd = 0; fd <= 2; ++fd) {
    if (std::find(keep.begin(), keep.end(), fd) != keep.end() || fd == null.get()) continue;
    if (::dup2(null.get(), fd) < 0) return fail_errno(errno, "pointing a descriptor to /dev/null");
  }
  if (null.get() <= 2) (void)null.release();  // it stands where it should
  return {};
}

// The death of the supervisor shuts the machine, that of a child is made good. An ordinary user who
// got his capability from the file may not say this (proc(5): the files of a process that can't be
// dumped are root's), then the kernel goes by size alone.
void offer_to_oom_killer() {
  constexpr int kMore = 300;
  constexpr int kMost = 1000;
  const UniqueFd file(::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC));
  char text[16] = {};
  if (!file || ::read(file.get(), text, sizeof text - 1) <= 0) return;
  const std::string wanted = std::to_string(std::min(std::atoi(text) + kMore, kMost));
  static_cast<void>(::pwrite(file.get(), wanted.data(), wanted.size(), 0) > 0);
}

// malloc(3) fails beyond it, which ends the process as any want of memory does.
Result<> limit_data(std::uint64_t bytes) {
  rlimit data{};
  if (bytes == 0 || ::getrlimit(RLIMIT_DATA, &data) != 0) return {};
  data.rlim_cur = std::min<rlim_t>({bytes, data.rlim_cur, data.rlim_max});
  data.rlim_max = data.rlim_cur;
  if (::setrlimit(RLIMIT_DATA, &data) == 0) return {};
  return fail_errno(errno, "setrlimit(RLIMIT_DATA, " + std::to_string(data.rlim_cur) + ")");
}

Result<> set_limits(const SandboxOptions& options) {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) return fail_errno(errno, "setrlimit(RLIMIT_CORE, 0)");
  offer_to_oom_killer();
  if (auto limited = limit_data(options.data_limit); !limited) return limited;
  rlimit descriptors{};
  if (!options.raise_descriptor_limit || ::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return {};
  descriptors.rlim_cur = descriptors.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &descriptors) != 0) {
    return fail_errno(errno, "raising RLIMIT_NOFILE to its hard limit");
  }
  return {};
}

// In a user namespace that maps one user only there is nobody else to become, and setgroups(2) is
// denied (user_namespaces(7)). The process is then an ordinary user outside of it.
bool is_mapped_alone(int error) { return error == EINVAL; }

bool setgroups_is_denied() {
  const UniqueFd file(::open("/proc/self/setgroups", O_RDONLY | O_CLOEXEC));
  char word[4] = {};
  return file && ::read(file.get(), word, sizeof word) == 4 && std::string_view(word, 4) == "deny";
}

Result<> become(const SandboxUser& user) {
  if (::geteuid() != 0) return {};
  const RaisedCapability groups(CAP_SETGID);
  const RaisedCapability users(CAP_SETUID);
  if (::setgroups(0, nullptr) != 0 && !setgroups_is_denied()) {
    return fail_errno(errno, "giving up supplementary groups (setgroups)");
  }
  if (::setresgid(user.gid, user.gid, user.gid) != 0 && !is_mapped_alone(errno)) {
    return fail_errno(errno, "taking the group of " + user.name + " (setresgid " +
                                 std::to_string(user.gid) + ")");
  }
  if (::setresuid(user.uid, user.uid, user.uid) != 0 && !is_mapped_alone(errno)) {
    return fail_errno(
        errno, "becoming the user " + user.name + " (setresuid " + std::to_string(user.uid) + ")");
  }
  return {};
}

Result<> drop_privileges(const SandboxOptions& options) {
  // First, as it takes a capability that is gone with root.
  if (auto dropped = drop_bounding_set(); !dropped) return dropped;
  if (options.become_other_user) {
    if (auto became = become(options.user); !became) return became;
  }
  if (auto dropped = keep_only({}); !dropped) return dropped;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return fail_errno(errno, "prctl(PR_SET_NO_NEW_PRIVS)");
  }
  // Nobody of the same user may read our memory or our descriptors (ptrace(2)).
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno(errno, "prctl(PR_SET_DUMPABLE)");
  return {};
}

}  // namespace

SandboxUser find_sandbox_user() {
  std::vector<char> buffer(std::size_t{16} * 1024);
  for (const char* name : {"proxyvpn", "nobody"}) {
    passwd entry{};
    passwd* found = nullptr;
    const int rc = ::getpwnam_r(name, &entry, buffer.data(), buffer.size(), &found);
    // A user `proxyvpn` that is root by another name would be no step down.
    if (rc == 0 && found != nullptr && found->pw_uid != 0) {
      return {found->pw_uid, found->pw_gid, name};
    }
  }
  return {};
}

Result<> close_all_but(std::span<const int> keep) {
  std::vector<int> sorted(keep.begin(), keep.end());
  std::sort(sorted.begin(), sorted.end());
  unsigned first = 0;
  for (const int fd : sorted) {
    if (fd < 0) continue;
    const auto number = static_cast<unsigned>(fd);
    if (number > first && ::close_range(first, number - 1, 0) != 0) return close_listed(sorted);
    first = std::max(first, number + 1);
  }
  if (::close_range(first, UINT_MAX, 0) != 0) return close_listed(sorted);
  return {};
}

Result<> die_with(pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) {
    return fail_errno(errno, "prctl(PR_SET_PDEATHSIG)");
  }
  if (::getppid() == parent) return {};
  return fail(Code::NotFound, "the process that started this one has ended meanwhile");
}

Result<> enter_sandbox(const SandboxOptions& options) {
  if (options.parent != 0) {
    if (auto tied = die_with(options.parent); !tied) return tied;
  }
  if (auto blank = blank_standard_descriptors(options.keep); !blank) return blank;
  std::vector<int> keep{0, 1, 2};
  keep.insert(keep.end(), options.keep.begin(), options.keep.end());
  if (auto closed = close_all_but(keep); !closed) return closed;
  if (auto limited = set_limits(options); !limited) return limited;
  // A reader that goes away is an error of write(2), not the end of the process.
  ::signal(SIGPIPE, SIG_IGN);
  if (auto dropped = drop_privileges(options); !dropped) return dropped;
  if (options.parent != 0) {  // the change of user has undone it (prctl(2))
    if (auto tied = die_with(options.parent); !tied) return tied;
  }
  if (options.filter) return install_filter(options.serves);
  return {};
}

}  // namespace proxyvpn::app
