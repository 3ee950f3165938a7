#include "app/capabilities.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "app/missing_capability.h"

namespace proxyvpn::app {
namespace {

struct CapFree {
  void operator()(std::remove_pointer_t<cap_t>* caps) const noexcept { ::cap_free(caps); }
};
using Caps = std::unique_ptr<std::remove_pointer_t<cap_t>, CapFree>;

bool has(const Caps& caps, cap_value_t capability, cap_flag_t set) noexcept {
  cap_flag_value_t value = CAP_CLEAR;
  return caps && ::cap_get_flag(caps.get(), capability, set, &value) == 0 && value == CAP_SET;
}

bool set_effective(cap_value_t capability, cap_flag_value_t value) noexcept {
  const Caps caps(::cap_get_proc());
  return caps && ::cap_set_flag(caps.get(), CAP_EFFECTIVE, 1, &capability, value) == 0 &&
         ::cap_set_proc(caps.get()) == 0;
}

std::string executable_path() {
  std::array<char, 4096> buffer{};
  const auto n = ::readlink("/proc/self/exe", buffer.data(), buffer.size());
  if (n <= 0) return {};
  std::string path(buffer.data(), static_cast<std::size_t>(n));
  // What is appended when the file was replaced while it runs (proc(5)).
  constexpr std::string_view deleted = " (deleted)";
  if (path.ends_with(deleted)) path.resize(path.size() - deleted.size());
  return path;
}

}  // namespace

RaisedCapability::RaisedCapability(cap_value_t capability) noexcept : capability_(capability) {
  const Caps caps(::cap_get_proc());
  effective_ = has(caps, capability, CAP_EFFECTIVE);
  if (effective_ || !has(caps, capability, CAP_PERMITTED)) return;
  raised_ = set_effective(capability, CAP_SET);
  effective_ = raised_;
}

RaisedCapability::~RaisedCapability() {
  if (!raised_) return;
  // errno belongs to the call that was made meanwhile.
  const int saved = errno;
  set_effective(capability_, CAP_CLEAR);
  errno = saved;
}

Result<> keep_only(std::span<const cap_value_t> capabilities) {
  const Caps before(::cap_get_proc());
  const Caps after(::cap_init());
  if (!before || !after) return fail_errno(errno, "reading the capabilities of this process");
  for (const auto capability : capabilities) {
    if (!has(before, capability, CAP_PERMITTED)) continue;
    ::cap_set_flag(after.get(), CAP_PERMITTED, 1, &capability, CAP_SET);
  }
  if (::cap_set_proc(after.get()) != 0) {
    return fail_errno(errno, "giving up the capabilities that are not needed (capset)");
  }
  // The kernel takes away from the ambient set what is no longer inheritable (capabilities(7)).
  return {};
}

Result<> keep_supervisor_capabilities() {
  static constexpr std::array<cap_value_t, 6> of_root{CAP_NET_ADMIN, CAP_SETUID, CAP_SETGID,
                                                      CAP_SETPCAP,   CAP_KILL,   CAP_DAC_OVERRIDE};
  const bool root = ::geteuid() == 0;
  return keep_only(std::span(of_root).first(root ? of_root.size() : 1));
}

Result<> drop_bounding_set() {
  const RaisedCapability raised(CAP_SETPCAP);
  for (cap_value_t capability = 0; raised.effective() && CAP_IS_SUPPORTED(capability);
       ++capability) {
    if (::cap_drop_bound(capability) != 0) {
      return fail_errno(
          errno, "dropping capability " + std::to_string(capability) + " from the bounding set");
    }
  }
  return {};
}

Result<> drop_all_capabilities() {
  if (auto dropped = drop_bounding_set(); !dropped) return dropped;
  return keep_only({});
}

Result<> signal_child(pid_t child, int signal) noexcept {
  const RaisedCapability raised(CAP_KILL);
  if (::kill(child, signal) == 0 || errno == ESRCH) return {};
  return fail_errno(errno, "kill(" + std::to_string(child) + ", " + std::to_string(signal) + ")");
}

CapabilityFacts read_capability_facts(cap_value_t capability) {
  CapabilityFacts facts;
  const Caps caps(::cap_get_proc());
  facts.permitted = has(caps, capability, CAP_PERMITTED);
  facts.effective = has(caps, capability, CAP_EFFECTIVE);
  facts.inheritable = has(caps, capability, CAP_INHERITABLE);
  facts.ambient = ::cap_get_ambient(capability) == CAP_SET;
  facts.bounding = ::cap_get_bound(capability) != CAP_CLEAR;
  facts.no_new_privs = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  facts.uid = ::getuid();
  facts.euid = ::geteuid();
  facts.executable = executable_path();
  const Caps file(::cap_get_file("/proc/self/exe"));
  facts.file_capability = has(file, capability, CAP_PERMITTED);
  struct statvfs mount {};
  if (::statvfs("/proc/self/exe", &mount) == 0) {
    facts.nosuid_mount = (mount.f_flag & ST_NOSUID) != 0;
  }
  return facts;
}

std::optional<MissingCapability> missing_capability(const CapabilityFacts& facts) {
  if (facts.permitted) return std::nullopt;
  const std::string& binary = facts.executable.empty() ? "proxyvpn" : facts.executable;
  const std::string text = "this process lacks the capability CAP_NET_ADMIN";
  if (!facts.bounding) {
    return MissingCapability{
        text + ", and its bounding set does not hold it, so nothing started here can get it",
        "start the container with --cap-add=NET_ADMIN, or the unit with CAP_NET_ADMIN in "
        "CapabilityBoundingSet="};
  }
  if (facts.euid == 0) {
    return MissingCapability{
        text + " although it runs as root: whatever started it took the capability away",
        "start the container with --cap-add=NET_ADMIN, or leave the user namespace"};
  }
  if (!facts.file_capability) {
    return MissingCapability{text, "give it to the binary once: sudo setcap cap_net_admin=eip " +
                                       binary + " (or run it with sudo)"};
  }
  if (facts.no_new_privs) {
    return MissingCapability{
        text + ": the binary carries it, but no_new_privs is set, so the kernel ignores it",
        "start it from a shell without that flag (under systemd: NoNewPrivileges=no, or "
        "AmbientCapabilities=CAP_NET_ADMIN)"};
  }
  if (facts.nosuid_mount) {
    return MissingCapability{
        text + ": " + binary +
            " carries it, but lies on a file system mounted with nosuid, where the kernel ignores "
            "it",
        "install it elsewhere, such as /usr/local/bin"};
  }
  return MissingCapability{text + ": " + binary + " carries it, but the kernel did not grant it",
                           "is this process traced, or in another user namespace? Run it with "
                           "sudo"};
}

std::string explain_missing(const CapabilityFacts& facts) {
  const auto missing = missing_capability(facts);
  return missing ? missing->finding + "; " + missing->advice : std::string();
}

}  // namespace proxyvpn::app
