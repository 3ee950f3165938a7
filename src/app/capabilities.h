#pragma once
// capabilities(7) of this process, through libcap: raised only around the calls that need them, and
// what to tell a person whose system does not give them.
#include <sys/capability.h>
#include <sys/types.h>

#include <span>
#include <string>
#include <utility>

#include "base/error.h"

namespace proxyvpn::app {

// Holds one capability in the effective set while it lives; the set is as before afterwards. Costs
// two system calls when the capability was not effective already. Nests. The process has one
// thread.
class RaisedCapability {
 public:
  explicit RaisedCapability(cap_value_t capability) noexcept;
  ~RaisedCapability();
  RaisedCapability(const RaisedCapability&) = delete;
  RaisedCapability& operator=(const RaisedCapability&) = delete;
  // False: it is not in the permitted set; the call that needs it will fail with EPERM and say so.
  [[nodiscard]] bool effective() const noexcept { return effective_; }

 private:
  cap_value_t capability_;
  bool effective_ = false;
  bool raised_ = false;  // by us, so lowered by us
};

// The result of `call` with CAP_NET_ADMIN effective around it.
template <class Call>
auto with_net_admin(Call&& call) {
  const RaisedCapability raised(CAP_NET_ADMIN);
  return std::forward<Call>(call)();
}

// What a supervisor may keep: CAP_NET_ADMIN, and when it runs as root what it takes to give its
// children another user and to end them again (CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_KILL), and
// to make a control group (CAP_DAC_OVERRIDE). All of them permitted as far as they are now, none
// effective, none inheritable or ambient.
Result<> keep_supervisor_capabilities();

// Exactly these permitted (those of them that are now), none effective; inheritable and ambient
// empty. What is dropped never comes back, except that root gets all of them by execve(2).
Result<> keep_only(std::span<const cap_value_t> capabilities);

// Empties the bounding set, so that no execve(2) gives anything back. Without CAP_SETPCAP nothing
// is done: no_new_privs has the same effect.
Result<> drop_bounding_set();
// The bounding set and then every other. For a child that stays who it is; there is no way back.
Result<> drop_all_capabilities();

// kill(2) for a child of ours that may run as another user: raises CAP_KILL around it.
Result<> signal_child(pid_t child, int signal) noexcept;

// One capability as the kernel has it for this process, with everything that decides why it is not
// there.
struct CapabilityFacts {
  bool permitted = false;
  bool effective = false;
  bool inheritable = false;
  bool ambient = false;
  bool bounding = true;
  bool no_new_privs = false;     // prctl(2) PR_GET_NO_NEW_PRIVS
  bool file_capability = false;  // our executable carries it (setcap)
  bool nosuid_mount = false;     // our executable lies on a file system mounted with nosuid
  uid_t uid = 0;                 // real
  uid_t euid = 0;
  std::string executable;  // path of our binary, for the advice
};
// Reads them; never fails: what cannot be read keeps its default.
CapabilityFacts read_capability_facts(cap_value_t capability = CAP_NET_ADMIN);

// Why CAP_NET_ADMIN is missing and what to do, one or two sentences; empty when it is permitted.
std::string explain_missing(const CapabilityFacts& facts);

}  // namespace proxyvpn::app
