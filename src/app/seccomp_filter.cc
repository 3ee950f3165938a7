#include "app/seccomp_filter.h"

#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "base/sanitizers.h"

namespace proxyvpn::app {
namespace {

#define CALL(name) SCMP_SYS(name), #name

// clang-format off
constexpr AllowedCall kCalls[] = {
    // Packets, tunnels, the channel to the supervisor.
    {CALL(read), "packets from the TUN, bytes from a proxy"},
    {CALL(write), "log lines, the table of flows"},
    {CALL(writev), "packets with their virtio header, by reference"},
    {CALL(recvfrom), "recv(3) of a tunnel"},
    {CALL(recvmsg), "messages and descriptors from the supervisor, tunnel bytes scattered"},
    {CALL(sendto), "send(3) of a tunnel"},
    {CALL(sendmsg), "messages to the supervisor, tunnel bytes gathered"},
    {CALL(connect), "a marked socket to the proxy; the packet filter allows nothing else"},
    {CALL(shutdown), "half-close"},
    {CALL(setsockopt), "keepalive, TCP_NODELAY, linger; SO_MARK fails without a capability"},
    {CALL(getsockopt), "SO_ERROR after connect, TCP_INFO"},
    {CALL(close), "the end of a connection"},
    // The event loop.
    {CALL(epoll_create1), "the loop's own descriptor"},
    {CALL(epoll_ctl), "interest in a descriptor"},
    {CALL(epoll_wait), "the one place that waits"},
    {CALL(epoll_pwait), "how some C libraries spell epoll_wait"},
    {CALL(clock_gettime), "time, where the vDSO has to ask the kernel"},
    // Memory: no mapping can be made executable, mprotect is not here at all.
    {CALL(brk), "malloc"},
    {CALL(munmap), "free"},
    {CALL(madvise), "malloc of C libraries that ask for huge pages"},
    {CALL(getrandom), "hash keys, initial sequence numbers, nonces for Digest"},
    // The end, wanted or not.
    {CALL(exit_group), "_exit"},
    {CALL(rt_sigprocmask), "abort"},
    {CALL(getpid), "abort"},
    {CALL(gettid), "abort"},
    {CALL(restart_syscall), "a wait that was interrupted by a stop (SIGSTOP, the freezer) goes on"},
#ifdef PROXYVPN_ADDRESS_SANITIZER
    {CALL(futex), "sanitizer: locks"},
    {CALL(sched_yield), "sanitizer: locks"},
    {CALL(mremap), "sanitizer: realloc of large blocks"},
    {CALL(rt_sigreturn), "sanitizer: back from its handler"},
    {CALL(exit), "sanitizer: the end of a thread"},
    {CALL(openat), "sanitizer: reads its maps and debug information"},
    {CALL(open), "sanitizer: reads its maps"},
    {CALL(readlink), "sanitizer: the name of the binary"},
    {CALL(readlinkat), "sanitizer: the name of the binary"},
    {CALL(fstat), "sanitizer: size of debug information"},
    {CALL(newfstatat), "sanitizer: size of debug information"},
    {CALL(stat), "sanitizer: whether a file is there"},
    {CALL(lseek), "sanitizer: debug information"},
    {CALL(pread64), "sanitizer: debug information"},
    {CALL(getdents64), "sanitizer: lists threads"},
    {CALL(mprotect), "sanitizer: guard pages"},
    {CALL(sigaltstack), "sanitizer: stack for reports"},
    {CALL(rt_sigaction), "sanitizer: default action before the end"},
    {CALL(prlimit64), "sanitizer: size of the stack"},
    {CALL(getrlimit), "sanitizer: size of the stack"},
    {CALL(sysinfo), "sanitizer: memory"},
    {CALL(pipe2), "sanitizer: whether memory can be read"},
    {CALL(pipe), "sanitizer: whether memory can be read"},
    {CALL(getppid), "sanitizer: reports"},
    {CALL(getuid), "sanitizer: reports"},
#endif
};

// Allowed with some arguments only.
constexpr AllowedCall kConditional[] = {
    {CALL(mmap), "malloc; without PROT_EXEC"},
    {CALL(tgkill), "abort; this process only"},
    {CALL(prlimit64), "how many descriptors there may be; reads only"},
};
constexpr AllowedCall kAccept = {CALL(accept4), "connections of those who read metrics"};
// clang-format on
#undef CALL

struct ContextRelease {
  void operator()(void* context) const noexcept { ::seccomp_release(context); }
};
using Context = std::unique_ptr<void, ContextRelease>;

Result<> add_rule(const Context& context, const AllowedCall& call,
                  std::span<const scmp_arg_cmp> conditions = {}) {
  // A negative number: this architecture has no such call.
  if (call.number < 0) return {};
  const int rc =
      ::seccomp_rule_add_array(context.get(), SCMP_ACT_ALLOW, call.number,
                               static_cast<unsigned>(conditions.size()), conditions.data());
  if (rc < 0) return fail_errno(-rc, "seccomp: allowing " + std::string(call.name));
  return {};
}

scmp_arg_cmp condition(unsigned argument, scmp_compare op, scmp_datum_t a, scmp_datum_t b = 0) {
  scmp_arg_cmp result{};
  result.arg = argument;
  result.op = op;
  result.datum_a = a;
  result.datum_b = b;
  return result;
}

Result<> add_conditional(const Context& context) {
  const scmp_arg_cmp not_executable[] = {condition(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)};
  if (auto added = add_rule(context, kConditional[0], not_executable); !added) return added;
  const scmp_arg_cmp ourselves[] = {
      condition(0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()))};
  if (auto added = add_rule(context, kConditional[1], ourselves); !added) return added;
  // Of this process (0), and no new limit.
  const scmp_arg_cmp no_new_limit[] = {condition(0, SCMP_CMP_EQ, 0), condition(2, SCMP_CMP_EQ, 0)};
  return add_rule(context, kConditional[2], no_new_limit);
}

}  // namespace

std::span<const AllowedCall> allowed_calls() { return kCalls; }

Result<> install_filter(bool serves) {
  const Context context(::seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (!context) return fail(Code::Unsupported, "seccomp: no filter can be made (seccomp_init)");
  // Calls of another architecture (32 bit on a 64 bit kernel) end the process as well.
  ::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  // A binary tree instead of a chain of comparisons: every call pays for the filter.
  ::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const auto& call : kCalls) {
    if (auto added = add_rule(context, call); !added) return added;
  }
  if (auto added = add_conditional(context); !added) return added;
  if (serves) {
    if (auto added = add_rule(context, kAccept); !added) return added;
  }
  const int rc = ::seccomp_load(context.get());
  if (rc == 0) return {};
  auto error = fail_errno(-rc, "seccomp: installing the list of allowed system calls");
  if (rc == -EINVAL) error.value().code = Code::Unsupported;  // no CONFIG_SECCOMP_FILTER
  return error;
}

}  // namespace proxyvpn::app
