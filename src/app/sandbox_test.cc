#include "app/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <set>
#include <vector>

#include "app/capabilities.h"
#include "app/seccomp_filter.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

struct End {
  int status = -1;  // of exit, or
  int signal = 0;
};

// A sandbox cannot be left: each case has a process of its own.
End end_of_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    ::_exit(body());
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return {};
  if (WIFSIGNALED(status)) return {-1, WTERMSIG(status)};
  return {WEXITSTATUS(status), 0};
}

constexpr int kNoSandbox = 99;

// `body` inside of a sandbox with descriptor 2 kept, where a sanitizer would write to.
End in_sandbox(const std::function<int()>& body, bool filter = true) {
  const auto user = find_sandbox_user();
  return end_of_child([&] {
    const int keep[] = {2};
    SandboxOptions options;
    options.keep = keep;
    options.user = user;
    options.filter = filter;
    if (const auto entered = enter_sandbox(options); !entered) {
      ::dprintf(2, "%s\n", entered.error().message.c_str());
      return kNoSandbox;
    }
    return body();
  });
}

TEST(Sandbox, TheCallsOfTheEngineWork) {
  const auto end = in_sandbox([] {
    const int loop = ::epoll_create1(EPOLL_CLOEXEC);
    if (loop < 0) return 1;
    epoll_event event{};
    if (::epoll_wait(loop, &event, 1, 0) != 0) return 2;
    char* block = static_cast<char*>(::malloc(8 << 20));
    if (block == nullptr) return 3;
    block[4096] = 1;
    ::free(block);
    std::array<unsigned char, 16> random{};
    if (::syscall(SYS_getrandom, random.data(), random.size(), 0) != 16) return 4;
    ::close(loop);
    if (::write(2, "", 0) != 0) return 5;
    return 0;
  });
  EXPECT_EQ(end.signal, 0);
  EXPECT_EQ(end.status, 0);
}

TEST(Sandbox, OpeningASocketEndsTheProcess) {
  EXPECT_EQ(in_sandbox([] { return ::socket(AF_INET, SOCK_STREAM, 0); }).signal, SIGSYS);
}

TEST(Sandbox, ExecutingAProgramEndsTheProcess) {
  EXPECT_EQ(in_sandbox([] {
              char name[] = "true";
              char* argv[] = {name, nullptr};
              ::execv("/bin/true", argv);
              return 1;
            }).signal,
            SIGSYS);
}

// With any arguments; sanitizer builds have more of them.
bool is_listed(long number) {
  for (const auto& call : allowed_calls()) {
    if (call.number == number) return true;
  }
  return false;
}

TEST(Sandbox, OpeningAFileEndsTheProcessUnlessASanitizerNeedsIt) {
  EXPECT_EQ(in_sandbox([] { return ::open("/etc/passwd", O_RDONLY); }).signal,
            is_listed(SYS_openat) ? 0 : SIGSYS);
}

TEST(Sandbox, LimitsOfThisProcessCanBeReadAndNotSet) {
  EXPECT_EQ(in_sandbox([] {
              rlimit limit{};
              return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 0 ? 0 : 1;
            }).status,
            0);
  EXPECT_EQ(in_sandbox([] {
              const rlimit limit{0, 0};
              return ::setrlimit(RLIMIT_NOFILE, &limit);
            }).signal,
            is_listed(SYS_prlimit64) ? 0 : SIGSYS);
}

TEST(Sandbox, AllowedCallsWithForbiddenArgumentsEndTheProcess) {
  EXPECT_EQ(in_sandbox([] {
              const void* const code =
                  ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return code == MAP_FAILED ? 1 : 2;
            }).signal,
            SIGSYS);
  EXPECT_EQ(
      in_sandbox([] { return static_cast<int>(::syscall(SYS_tgkill, 1, 1, SIGKILL)); }).signal,
      SIGSYS);
  EXPECT_EQ(in_sandbox([]() -> int { ::abort(); }).signal, SIGABRT);
}

// The list is the whole truth: every other number ends the process, also those that later kernels
// may give a meaning.
TEST(Sandbox, EveryCallThatIsNotListedEndsTheProcess) {
  std::set<long> allowed{SYS_mmap, SYS_tgkill, SYS_prlimit64};
#ifdef __x86_64__
  // uretprobe and uprobe: the kernel's own trampolines, which seccomp never sees (since
  // Linux 6.11).
  allowed.insert({335, 336});
#endif
  for (const auto& call : allowed_calls()) allowed.insert(call.number);
  // One sandboxed process per call.
  for (long number = 0; number < 470; ++number) {
    if (allowed.contains(number)) continue;
    const auto end = in_sandbox([number] {
      ::syscall(number, -1, 0, 0, 0, 0, 0);
      return 1;
    });
    EXPECT_EQ(end.signal, SIGSYS) << "system call " << number;
  }
}

TEST(Sandbox, EveryListedCallHasAReasonAndStandsThereOnce) {
  std::set<std::string_view> names;
  for (const auto& call : allowed_calls()) {
    EXPECT_FALSE(call.reason.empty()) << call.name;
    EXPECT_TRUE(names.insert(call.name).second) << call.name;
  }
}

TEST(Sandbox, NoPrivilegeIsLeft) {
  const bool root = ::geteuid() == 0;
  const auto user = find_sandbox_user();
  const auto end = in_sandbox(
      [&] {
        const auto facts = read_capability_facts(CAP_NET_ADMIN);
        if (facts.permitted || facts.effective || facts.inheritable || facts.ambient) return 1;
        if (!facts.no_new_privs) return 2;
        if (root && facts.bounding) return 3;
        if (root && (facts.uid != user.uid || facts.euid != user.uid)) return 4;
        if (root && ::getegid() != user.gid) return 5;
        if (root && ::getgroups(0, nullptr) != 0) return 6;
        if (root && ::setuid(0) == 0) return 7;
        if (::prctl(PR_GET_DUMPABLE) != 0) return 8;
        rlimit core{};
        ::getrlimit(RLIMIT_CORE, &core);
        if (core.rlim_max != 0) return 9;
        rlimit files{};
        ::getrlimit(RLIMIT_NOFILE, &files);
        if (files.rlim_cur != files.rlim_max) return 10;
        return 0;
      },
      false);
  EXPECT_EQ(end.signal, 0);
  EXPECT_EQ(end.status, 0);
}

// So high that a sanitizer's shadow memory fits; what counts is that it is set, and for good.
TEST(Sandbox, MemoryHasALimitAndThisProcessGoesFirst) {
  const auto score = [] {
    std::ifstream file("/proc/self/oom_score_adj");
    int number = 0;
    file >> number;
    return number;
  };
  const int before = score();
  const auto end = end_of_child([&] {
    SandboxOptions options;
    options.filter = false;
    options.become_other_user = false;
    options.data_limit = std::uint64_t{1} << 60;
    if (!enter_sandbox(options)) return 1;
    rlimit data{};
    ::getrlimit(RLIMIT_DATA, &data);
    if (data.rlim_max > std::uint64_t{1} << 60 || data.rlim_cur != data.rlim_max) return 2;
    ::prctl(PR_SET_DUMPABLE, 1);  // to read it
    return score() == std::min(before + 300, 1000) ? 0 : 3;
  });
  EXPECT_EQ(end.signal, 0);
  EXPECT_EQ(end.status, 0);
}

TEST(Sandbox, OnlyTheNamedDescriptorsStayAndTheStandardOnesLeadNowhere) {
  const auto end = end_of_child([] {
    // 0 to 2 closed to begin with, as a badly started daemon has them; three others open.
    const int saved = ::fcntl(2, F_DUPFD, 50);
    int ends[2] = {};
    if (::pipe(ends) != 0) return 1;
    const int kept = ::fcntl(ends[1], F_DUPFD, 20);
    const int lost = ::fcntl(ends[1], F_DUPFD, 300);
    for (int fd = 0; fd <= 2; ++fd) ::close(fd);
    SandboxOptions options;
    const int keep[] = {kept, saved};
    options.keep = keep;
    options.filter = false;
    if (!enter_sandbox(options)) return 2;
    if (::fcntl(kept, F_GETFD) < 0) return 3;
    if (::fcntl(lost, F_GETFD) >= 0 || ::fcntl(ends[0], F_GETFD) >= 0) return 4;
    if (::write(1, "x", 1) != 1) return 5;  // /dev/null takes it
    char byte = 0;
    if (::read(0, &byte, 1) != 0) return 6;  // /dev/null is at its end
    if (::fcntl(2, F_GETFD) < 0) return 7;
    return 0;
  });
  EXPECT_EQ(end.status, 0);
}

TEST(CloseAllBut, TakesAnUnsortedListWithRepetitions) {
  const auto end = end_of_child([] {
    const int a = ::fcntl(2, F_DUPFD, 100);
    const int b = ::fcntl(2, F_DUPFD, 200);
    const int c = ::fcntl(2, F_DUPFD, 150);
    const int keep[] = {b, 2, a, b, -1};
    if (!close_all_but(keep)) return 1;
    if (::fcntl(a, F_GETFD) < 0 || ::fcntl(b, F_GETFD) < 0 || ::fcntl(2, F_GETFD) < 0) return 2;
    return ::fcntl(c, F_GETFD) < 0 ? 0 : 3;
  });
  EXPECT_EQ(end.status, 0);
}

TEST(DieWith, AParentThatIsGoneAlreadyIsSeen) {
  const auto end = end_of_child([] {
    if (!die_with(::getppid())) return 1;
    return die_with(::getppid() + 1) ? 2 : 0;
  });
  EXPECT_EQ(end.status, 0);
}

// The one below the one that dies: it holds the write end of a pipe, whose end shows its own end.
TEST(DieWith, TheChildEndsWithItsParentAlsoAfterAChangeOfUser) {
  int ends[2] = {};
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const auto user = find_sandbox_user();
  const auto end = end_of_child([&] {
    const pid_t middle = ::getpid();
    const pid_t child = ::fork();
    if (child == 0) {
      const int keep[] = {writer.get()};
      SandboxOptions options;
      options.keep = keep;
      options.user = user;
      options.parent = middle;
      options.filter = false;
      if (!enter_sandbox(options)) ::_exit(1);
      [[maybe_unused]] const auto n = ::write(writer.get(), "r", 1);
      for (;;) ::pause();
    }
    char byte = 0;
    const bool ready = ::read(reader.get(), &byte, 1) == 1;
    return ready ? 0 : 1;
  });
  EXPECT_EQ(end.status, 0);
  writer.reset();
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0);
}

}  // namespace
}  // namespace proxyvpn::app
