#include "app/direct_group.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "app/capabilities.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

constexpr char kProcesses[] = "/cgroup.procs";
constexpr int kRounds = 5;  // processes may fork while they are moved

// Where the whole hierarchy is mounted and can be seen (proc_pid_mountinfo(5)); empty: nowhere.
std::string find_hierarchy() {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string line;
  while (std::getline(mounts, line)) {
    const auto dash = line.find(" - cgroup2 ");
    if (dash == std::string::npos) continue;
    std::istringstream words(line.substr(0, dash));
    std::string id, parent, device, root, point;
    words >> id >> parent >> device >> root >> point;
    // A mount may be hidden by another one on top of it.
    const std::string file = point + kProcesses;
    if (root == "/" && ::access(file.c_str(), F_OK) == 0) return point;
  }
  return {};
}

Result<> write_process(const std::string& file, const std::string& process) {
  const UniqueFd opened(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!opened) return fail_errno(errno, "open " + file);
  if (::write(opened.get(), process.data(), process.size()) < 0) {
    return fail_errno(errno, "moving process " + process + " (" + file + ")");
  }
  return {};
}

bool is_roots_alone(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && info.st_uid == 0 &&
         (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

}  // namespace

Result<> DirectGroup::add(pid_t process) const {
  return write_process(path + kProcesses, std::to_string(process));
}

Result<DirectGroup> open_direct_group() {
  // The root of the hierarchy is read-only (mode 0555), for root too.
  const RaisedCapability raised(CAP_DAC_OVERRIDE);
  const std::string hierarchy = find_hierarchy();
  if (hierarchy.empty()) {
    return fail(Code::Unsupported, "exec --direct needs cgroup v2, and none is mounted here");
  }
  DirectGroup group;
  group.path = hierarchy + "/" + kDirectGroup;
  if (::mkdir(group.path.c_str(), 0755) != 0 && errno != EEXIST) {
    const int err = errno;
    auto error = fail_errno(err, "making the group " + group.path);
    if (error.value().code == Code::Permission) {
      error.value().message += "; exec --direct works when root has started proxyvpn";
    }
    return error;
  }
  // Whatever the umask says; fails on somebody else's, which is refused below.
  ::chmod(group.path.c_str(), 0755);
  if (!is_roots_alone(group.path) || !is_roots_alone(group.path + kProcesses)) {
    return fail(Code::Permission, "the group " + group.path +
                                      " can be written to by others than root: remove it (rmdir)");
  }
  struct stat info {};
  if (::stat(group.path.c_str(), &info) != 0) return fail_errno(errno, "stat " + group.path);
  group.cgroup = {kDirectGroup, info.st_ino};
  return group;
}

Result<> remove_direct_group() {
  const RaisedCapability raised(CAP_DAC_OVERRIDE);
  const std::string hierarchy = find_hierarchy();
  const std::string path = hierarchy + "/" + kDirectGroup;
  struct stat info {};
  if (hierarchy.empty() || ::stat(path.c_str(), &info) != 0) return {};
  int err = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::ifstream processes(path + kProcesses);
    std::string process;
    // One that has ended meanwhile is gone from the group too.
    while (processes >> process) static_cast<void>(write_process(hierarchy + kProcesses, process));
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
    err = errno;
  }
  return fail_errno(err, "removing the group " + path);
}

}  // namespace proxyvpn::app
