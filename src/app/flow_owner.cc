#include "app/flow_owner.h"

#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "app/directory.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

constexpr std::size_t kMostRemembered = 100'000;

std::optional<pid_t> process_number(const char* name) noexcept {
  pid_t pid = 0;
  const auto read = std::from_chars(name, name + std::strlen(name), pid);
  if (read.ec != std::errc{} || *read.ptr != '\0' || pid <= 0) return std::nullopt;
  return pid;
}

// What a process calls itself, fit for a terminal.
std::string name_of(pid_t pid) {
  const UniqueFd file(
      ::open(("/proc/" + std::to_string(pid) + "/comm").c_str(), O_RDONLY | O_CLOEXEC));
  char text[64];
  const ssize_t n = file ? ::read(file.get(), text, sizeof text) : -1;
  std::string name(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  if (!name.empty() && name.back() == '\n') name.pop_back();
  for (char& c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return name;
}

void look_into(pid_t pid, const std::unordered_set<std::uint64_t>& inodes,
               std::unordered_map<std::uint64_t, pid_t>& found) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd";
  const Directory directory(::opendir(path.c_str()));
  if (!directory) return;  // gone, or not ours to see
  while (const dirent* entry = ::readdir(directory.get())) {
    char link[64];
    const ssize_t n = ::readlinkat(::dirfd(directory.get()), entry->d_name, link, sizeof link);
    if (n <= 0) continue;
    const auto inode = socket_inode({link, static_cast<std::size_t>(n)});
    if (inode && inodes.contains(*inode)) found.emplace(*inode, pid);
  }
}

}  // namespace

std::optional<std::uint64_t> socket_inode(std::string_view link) noexcept {
  constexpr std::string_view kFront = "socket:[";
  if (!link.starts_with(kFront) || !link.ends_with(']')) return std::nullopt;
  link.remove_prefix(kFront.size());
  link.remove_suffix(1);
  std::uint64_t inode = 0;
  const auto read = std::from_chars(link.data(), link.data() + link.size(), inode);
  if (read.ec != std::errc{} || read.ptr != link.data() + link.size()) return std::nullopt;
  return inode;
}

std::unordered_map<std::uint64_t, pid_t> find_holders(
    const std::unordered_set<std::uint64_t>& inodes) {
  std::unordered_map<std::uint64_t, pid_t> found;
  const Directory processes(::opendir("/proc"));
  if (!processes) return found;
  while (const dirent* entry = ::readdir(processes.get())) {
    if (found.size() == inodes.size()) break;
    if (const auto pid = process_number(entry->d_name)) look_into(*pid, inodes, found);
  }
  return found;
}

std::string OwnerFinder::user_name(uid_t uid) {
  const auto known = users_.find(uid);
  if (known != users_.end()) return known->second;
  std::vector<char> buffer(4096);
  passwd entry{};
  passwd* result = nullptr;
  const int rc = ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &result);
  std::string name = rc == 0 && result != nullptr ? entry.pw_name : std::to_string(uid);
  users_.emplace(uid, name);
  return name;
}

void OwnerFinder::look(const std::vector<std::pair<Endpoint, Endpoint>>& flows) {
  if (owners_.size() > kMostRemembered) owners_.clear();
  std::unordered_set<Key, KeyHash> wanted;
  for (const auto& [source, destination] : flows) {
    if (find(source, destination) == nullptr) wanted.insert({source, destination});
  }
  if (wanted.empty()) return;
  auto door = netlink::open_socket_diag();
  const auto sockets = door ? (*door)->connected() : tl::unexpected(door.error());
  if (!sockets) return;  // then nobody's name is known
  std::unordered_map<std::uint64_t, Key> by_inode;
  std::unordered_set<std::uint64_t> inodes;
  for (const auto& socket : *sockets) {
    const Key key{socket.local, socket.remote};
    if (!wanted.contains(key)) continue;
    owners_[key] = FlowOwner{0, "", socket.uid, user_name(socket.uid)};
    if (socket.inode == 0) continue;  // nobody holds it any more
    inodes.insert(socket.inode);
    by_inode.emplace(socket.inode, key);
  }
  for (const auto& [inode, pid] : find_holders(inodes)) {
    FlowOwner& owner = owners_[by_inode.at(inode)];
    owner.pid = pid;
    owner.name = name_of(pid);
  }
}

const FlowOwner* OwnerFinder::find(const Endpoint& source, const Endpoint& destination) const {
  const auto at = owners_.find({source, destination});
  return at == owners_.end() ? nullptr : &at->second;
}

}  // namespace proxyvpn::app
