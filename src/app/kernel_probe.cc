#include "app/kernel_probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "app/private_network.h"
#include "base/error.h"
#include "base/ip.h"
#include "base/unique_fd.h"
#include "firewall/firewall.h"
#include "firewall/inspect.h"
#include "netlink/routing.h"
#include "netlink/sock_diag.h"
#include "tun/tun_device.h"

namespace proxyvpn::app {
namespace {

constexpr const char* kNoNamespace = "no-namespace";  // the child's word for cannot_try
constexpr std::size_t kMaxOutput = std::size_t{64} * 1024;

// ---- in the child -------------------------------------------------------------------------------

void write_all(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const auto n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno != EINTR) ::_exit(1);
    if (n > 0) done += static_cast<std::size_t>(n);
  }
}

class Trials {
 public:
  explicit Trials(int fd) : fd_(fd) {}
  void tell(std::string_view name, const Result<>& result, const std::string& how = {}) const {
    const Trial trial{std::string(name), result.has_value(), result ? how : result.error().message};
    write_all(fd_, to_line(trial));
  }

 private:
  int fd_;
};

// A namespace of our own: as root without another user's world, else with one.
Result<> enter_namespace() {
  if (::geteuid() == 0 && ::unshare(CLONE_NEWNET) == 0) return {};
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0) return {};
  return fail_errno(errno, "unshare(CLONE_NEWUSER | CLONE_NEWNET)");
}

firewall::Policy trial_policy() {
  firewall::Policy policy;
  policy.tun_name = "pvtrial0";
  for (const char* text : {"192.0.2.1", "2001:db8::1"}) {
    const auto address = IpAddress::parse(text);
    if (!address) continue;
    policy.tun_addresses.push_back(*address);
    policy.proxies.push_back({*address, 3128});
    policy.resolvers.push_back(*address);
    policy.keep.push_back({{*address, 22}, {*address, 50'000}});
    policy.direct.push_back(Cidr{*address, address->is_v4() ? 24u : 64u}.network());
  }
  policy.exempt_uids = {0};
  policy.inside_links = {"pvtrial1"};
  return policy;
}

void try_firewall(const Trials& trials) {
  auto firewall = firewall::open_firewall(firewall::Backend::Nftables);
  auto policy = trial_policy();
  const auto installed =
      firewall ? (*firewall)->install(policy) : wrap(firewall.error(), "netlink");
  trials.tell(kTrialNftables, installed);
  if (!installed) return;
  policy.guarded_uplinks = {"lo"};
  trials.tell(kTrialEgress, (*firewall)->install(policy));
  const auto guard = firewall::probe_table_guard();
  if (!guard) {
    trials.tell(kTrialOwner, tl::unexpected(guard.error()));
  } else if (*guard == firewall::TableGuard::None) {
    trials.tell(kTrialOwner, fail(Code::Unsupported, "tables have no owner"));
  } else {
    trials.tell(kTrialOwner, {},
                *guard == firewall::TableGuard::OwnerPersist ? "persist" : "owner");
  }
}

void try_tun(const Trials& trials) {
  const auto tun = tun::create_tun("pvtrial0", 2, true);
  if (!tun) return trials.tell(kTrialTun, tl::unexpected(tun.error()));
  const bool offload = tun->offloads.checksum && tun->offloads.segmentation;
  trials.tell(kTrialTun, {}, offload ? "offload" : "no offload");
}

void try_rules(const Trials& trials, netlink::Routing& routing, std::string_view name,
               Family family) {
  const netlink::Mark mark{0x10000000, 0x30000000};
  auto done = routing.add(netlink::Route{
      family, netlink::RouteType::Unreachable, netlink::kDefaultTable, 0xffffffff, {}});
  for (const bool invert : {false, true}) {
    if (!done) break;
    done = routing.add(netlink::PolicyRule{family, netlink::kDefaultRulePriority, invert, mark,
                                           netlink::RuleAction::Lookup, netlink::kDefaultTable});
  }
  if (done) {
    done = routing.add(netlink::PolicyRule{family, netlink::kDefaultRulePriority + 1, false, mark,
                                           netlink::RuleAction::Unreachable, 0});
  }
  trials.tell(name, done);
}

Result<UniqueFd> listening(SocketAddress& address) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  address = to_sockaddr(Endpoint{IpAddress::v4(0x7f000001), 0});
  if (!fd || ::bind(fd.get(), address.get(), address.length) != 0 || ::listen(fd.get(), 1) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.length) !=
          0) {
    return fail_errno(errno, "listening on lo");
  }
  return fd;
}

// A connection to ourselves is cut; its end must notice.
Result<> destroy_one() {
  if (auto up = raise_loopback(); !up) return up;
  SocketAddress there;
  const auto listener = listening(there);
  if (!listener) return tl::unexpected(listener.error());
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), there.get(), there.length) != 0) {
    return fail_errno(errno, "connecting on lo");
  }
  SocketAddress here;
  here.length = sizeof here.storage;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&here.storage), &here.length);
  const auto local = from_sockaddr(here.get(), here.length);
  const auto remote = from_sockaddr(there.get(), there.length);
  auto diag = netlink::open_socket_diag();
  if (!diag) return tl::unexpected(diag.error());
  netlink::TcpSocket socket;
  socket.local = local.value_or(Endpoint{});
  socket.remote = remote.value_or(Endpoint{});
  if (auto destroyed = (*diag)->destroy(socket); !destroyed) return destroyed;
  char byte = 0;
  if (::recv(fd.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNABORTED) return {};
  return fail(Code::System, "a destroyed socket lives on");
}

[[noreturn]] void run_child(int fd) {
  const Trials trials(fd);
  if (auto entered = enter_namespace(); !entered) {
    trials.tell(kNoNamespace, entered);
    ::_exit(0);
  }
  try_tun(trials);
  // Before the firewall, whose egress chain shuts lo here.
  trials.tell(kTrialDestroy, destroy_one());
  try_firewall(trials);
  if (auto routing = netlink::open_routing()) {
    try_rules(trials, **routing, kTrialRules4, Family::V4);
    try_rules(trials, **routing, kTrialRules6, Family::V6);
  } else {
    trials.tell(kTrialRules4, tl::unexpected(routing.error()));
  }
  ::_exit(0);
}

// ---- in the parent ------------------------------------------------------------------------------

std::string read_until(int fd, TimePoint deadline) {
  std::string text;
  while (text.size() < kMaxOutput) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    pollfd one{fd, POLLIN, 0};
    const int ready = left > 0 ? ::poll(&one, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) break;
    std::array<char, 4096> buffer{};
    const auto n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

void end(pid_t child) {
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

const Trial* KernelTrials::find(std::string_view name) const noexcept {
  const auto it =
      std::find_if(trials.begin(), trials.end(), [&](const Trial& t) { return t.name == name; });
  return it == trials.end() ? nullptr : &*it;
}

std::string to_line(const Trial& trial) {
  std::string words = trial.words;
  std::replace_if(
      words.begin(), words.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return trial.name + (trial.works ? " 1 " : " 0 ") + words + "\n";
}

std::optional<Trial> parse_trial(std::string_view line) {
  const auto space = line.find(' ');
  if (space == 0 || space == std::string_view::npos || line.size() < space + 3 ||
      line[space + 2] != ' ' || (line[space + 1] != '0' && line[space + 1] != '1')) {
    return std::nullopt;
  }
  return Trial{std::string(line.substr(0, space)), line[space + 1] == '1',
               std::string(line.substr(space + 3))};
}

KernelTrials try_kernel(Duration at_most) {
  KernelTrials result;
  std::array<int, 2> ends{};
  const auto nothing = [&](const char* call) {
    result.cannot_try = std::string(call) + ": " + std::strerror(errno);
    return result;
  };
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return nothing("pipe2");
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return nothing("fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    run_child(write_end.get());
  }
  write_end.reset();
  const std::string text = read_until(read_end.get(), Clock::now() + at_most);
  end(child);
  for (std::size_t begin = 0; begin < text.size();) {
    const auto stop = std::min(text.find('\n', begin), text.size());
    if (auto trial = parse_trial(std::string_view(text).substr(begin, stop - begin))) {
      if (trial->name == kNoNamespace) {
        result.cannot_try = trial->words;
      } else {
        result.trials.push_back(std::move(*trial));
      }
    }
    begin = stop + 1;
  }
  return result;
}

}  // namespace proxyvpn::app
