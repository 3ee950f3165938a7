#include "app/resolver.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "app/capabilities.h"

namespace proxyvpn::app {
namespace {

struct Header {
  std::int32_t gai_error = 0;  // EAI_*, 0 for success
  std::int32_t sys_errno = 0;  // with EAI_SYSTEM
  std::uint32_t count = 0;
};
struct Entry {
  std::uint8_t family = 0;  // 4 or 6
  std::array<std::uint8_t, 16> bytes{};
};
static_assert(sizeof(Entry) == 17);
// Below PIPE_BUF (pipe(7)): one write(2), all or nothing.
constexpr std::size_t kLongestAnswer = sizeof(Header) + kMaxProxyAddresses * sizeof(Entry);
static_assert(kLongestAnswer < 4096);

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

std::string doing(const std::string& host) { return "looking up the proxy's name '" + host + "'"; }

std::vector<std::uint8_t> ask_the_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int rc = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  const int error = errno;
  if (rc != 0) return encode_answer(rc, rc == EAI_SYSTEM ? error : 0, {});
  const std::unique_ptr<addrinfo, FreeAddresses> list(found);
  Addresses addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    const auto endpoint = from_sockaddr(entry->ai_addr, entry->ai_addrlen);
    if (!endpoint || addresses.size() == kMaxProxyAddresses) continue;
    const auto& address = endpoint->address;
    const bool known = std::find(addresses.begin(), addresses.end(), address) != addresses.end();
    if (!known) addresses.push_back(address);
  }
  return encode_answer(0, 0, addresses);
}

[[noreturn]] void run_child(const std::string& host, int pipe, const SandboxUser& user,
                            pid_t parent, milliseconds timeout) {
  ::prctl(PR_SET_NAME, "proxyvpn-lookup");
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGALRM, SIG_DFL);
  // Ends us when the parent cannot.
  ::alarm(static_cast<unsigned>(timeout.count() / 1000) + 2);
  SandboxOptions options;
  const int keep[] = {pipe};
  options.keep = keep;
  options.user = user;
  options.parent = parent;
  options.raise_descriptor_limit = false;
  options.filter = false;
  const auto entered = enter_sandbox(options);
  const auto answer = entered
                          ? ask_the_system(host)
                          : encode_answer(EAI_SYSTEM, std::max(entered.error().sys_errno, 1), {});
  [[maybe_unused]] const auto n = ::write(pipe, answer.data(), answer.size());
  ::_exit(0);
}

}  // namespace

std::vector<std::uint8_t> encode_answer(int gai_error, int sys_errno,
                                        std::span<const IpAddress> addresses) {
  const auto count = std::min(addresses.size(), kMaxProxyAddresses);
  const Header header{gai_error, sys_errno, static_cast<std::uint32_t>(count)};
  std::vector<std::uint8_t> bytes(sizeof header + count * sizeof(Entry));
  std::memcpy(bytes.data(), &header, sizeof header);
  for (std::size_t i = 0; i < count; ++i) {
    Entry entry;
    entry.family = static_cast<std::uint8_t>(addresses[i].family());
    const auto raw = addresses[i].bytes();
    std::copy(raw.begin(), raw.end(), entry.bytes.begin());
    std::memcpy(bytes.data() + sizeof header + i * sizeof entry, &entry, sizeof entry);
  }
  return bytes;
}

Result<Addresses> decode_answer(const std::string& host, std::span<const std::uint8_t> bytes) {
  Header header;
  if (bytes.size() < sizeof header) {
    return fail(Code::System, doing(host) + ": the process that does it ended without an answer");
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.gai_error == EAI_SYSTEM) return fail_errno(header.sys_errno, doing(host));
  if (header.gai_error != 0) {
    return fail(Code::NotFound, doing(host) + ": " + ::gai_strerror(header.gai_error) +
                                    "; check the name, or give the address with --proxy-ip");
  }
  const auto entries = bytes.subspan(sizeof header);
  if (header.count > kMaxProxyAddresses || entries.size() != header.count * sizeof(Entry)) {
    return fail(Code::Protocol, doing(host) + ": the process that does it gave a malformed answer");
  }
  Addresses addresses;
  for (std::size_t i = 0; i < header.count; ++i) {
    Entry entry;
    std::memcpy(&entry, entries.data() + i * sizeof entry, sizeof entry);
    const std::span<const std::uint8_t, 16> raw(entry.bytes);
    const auto address = entry.family == 6 ? IpAddress::v6(raw) : IpAddress::v4(raw.first<4>());
    // No machine has such an address; 0.0.0.0 would even mean this one.
    if (!address.is_unspecified() && !address.is_multicast()) addresses.push_back(address);
  }
  if (!addresses.empty()) return addresses;
  return fail(Code::NotFound, doing(host) +
                                  ": the name has no address that can be used; give one "
                                  "with --proxy-ip");
}

Result<Lookup> Lookup::start(const std::string& host, const SandboxUser& user,
                             milliseconds timeout) {
  Lookup lookup(host, Clock::now() + timeout);
  if (const auto literal = IpAddress::parse(host)) {
    lookup.literal_ = *literal;
    return lookup;
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, doing(host) + ": pipe");
  lookup.pipe_ = UniqueFd(ends[0]);
  const UniqueFd writer(ends[1]);
  if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, doing(host));
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail_errno(errno, doing(host) + ": starting a process for it (fork)");
  if (child == 0) run_child(host, writer.get(), user, parent, timeout);
  lookup.child_ = child;
  return lookup;
}

Lookup::Lookup(Lookup&& other) noexcept
    : host_(std::move(other.host_)),
      deadline_(other.deadline_),
      literal_(other.literal_),
      pipe_(std::move(other.pipe_)),
      child_(std::exchange(other.child_, 0)),
      answer_(std::move(other.answer_)) {}

Lookup& Lookup::operator=(Lookup&& other) noexcept {
  if (this == &other) return *this;
  end_child();
  host_ = std::move(other.host_);
  deadline_ = other.deadline_;
  literal_ = other.literal_;
  pipe_ = std::move(other.pipe_);
  child_ = std::exchange(other.child_, 0);
  answer_ = std::move(other.answer_);
  return *this;
}

Lookup::~Lookup() { end_child(); }

// SIGKILL takes effect at once but for a process that waits for a dead disk: that one is left to
// whoever inherits it rather than waited for.
void Lookup::end_child() noexcept {
  const pid_t child = std::exchange(child_, 0);
  if (child <= 0) return;
  (void)signal_child(child, SIGKILL);
  const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  if (handle) {
    pollfd item{handle.get(), POLLIN, 0};
    (void)::poll(&item, 1, 100);
  }
  (void)::waitpid(child, nullptr, WNOHANG);
}

std::optional<Result<Addresses>> Lookup::poll(TimePoint now) {
  if (literal_) return Result<Addresses>(Addresses{*literal_});
  std::array<std::uint8_t, kLongestAnswer> buffer{};
  for (;;) {
    const auto n = ::read(pipe_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN && now < deadline_) return std::nullopt;
    if (n < 0 && errno == EAGAIN) {
      end_child();
      return Result<Addresses>(
          fail(Code::Timeout, doing(host_) + ": no answer in time; give the address with "
                                             "--proxy-ip, or another resolver with --dns"));
    }
    if (n < 0) return Result<Addresses>(fail_errno(errno, doing(host_)));
    // The child writes once; more than the longest answer is not from its code.
    if (n == 0 || answer_.size() > kLongestAnswer) break;
    answer_.insert(answer_.end(), buffer.begin(), buffer.begin() + n);
  }
  end_child();
  return decode_answer(host_, answer_);
}

Result<Addresses> resolve_now(const std::string& host, const SandboxUser& user,
                              milliseconds timeout) {
  auto lookup = Lookup::start(host, user, timeout);
  if (!lookup) return tl::unexpected(lookup.error());
  for (;;) {
    if (auto answer = lookup->poll(Clock::now())) return std::move(*answer);
    const auto left = std::chrono::ceil<milliseconds>(lookup->deadline() - Clock::now());
    pollfd item{lookup->fd(), POLLIN, 0};
    (void)::poll(&item, 1, static_cast<int>(std::max<milliseconds::rep>(left.count(), 0)));
  }
}

BackgroundResolver::BackgroundResolver(event::Reactor& reactor)
    : reactor_(reactor), handler_([this](std::uint32_t) { look(); }), timer_([this] { look(); }) {}

BackgroundResolver::~BackgroundResolver() {
  if (lookup_ && lookup_->fd() >= 0) reactor_.remove(lookup_->fd(), handler_);
}

Result<> BackgroundResolver::start(const std::string& host, const SandboxUser& user,
                                   milliseconds timeout,
                                   std::function<void(Result<Addresses>)> done) {
  if (lookup_) return fail(Code::Busy, doing(host) + ": a lookup is under way already");
  auto lookup = Lookup::start(host, user, timeout);
  if (!lookup) return tl::unexpected(lookup.error());
  if (lookup->fd() >= 0 && !reactor_.add(lookup->fd(), EPOLLIN, handler_)) {
    return fail_errno(errno, doing(host) + ": watching for the answer (epoll_ctl)");
  }
  // A literal is answered in the next turn: `done` never runs inside of start().
  timer_.arm(reactor_.timers(), lookup->fd() >= 0 ? lookup->deadline() : reactor_.now());
  lookup_ = std::move(*lookup);
  done_ = std::move(done);
  return {};
}

void BackgroundResolver::look() {
  if (!lookup_) return;
  auto answer = lookup_->poll(std::max(reactor_.now(), Clock::now()));
  if (!answer) return;
  if (lookup_->fd() >= 0) reactor_.remove(lookup_->fd(), handler_);
  timer_.cancel();
  lookup_.reset();
  // `done` may start the next one.
  const auto done = std::exchange(done_, nullptr);
  done(std::move(*answer));
}

}  // namespace proxyvpn::app
