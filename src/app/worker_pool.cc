#include "app/worker_pool.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <utility>

#include "app/capabilities.h"
#include "app/worker_slot.h"
#include "base/log_record.h"
#include "base/scrub.h"
#include "connect/flow_info.h"

namespace proxyvpn::app {
namespace {

constexpr std::size_t kMessagesPerTurn = 64;  // of one worker, so that it cannot hold the loop
constexpr std::size_t kMostOwed = 64;  // answers that a worker may have outstanding (it asks once)

// Null when there is none to be had. The object is default-initialized: a large one stays zero, and
// untouched.
template <class T>
Shared<T> make_shared_memory(const char* name) {
  const UniqueFd memory(::memfd_create(name, MFD_CLOEXEC));
  if (!memory || ::ftruncate(memory.get(), sizeof(T)) != 0) return nullptr;
  void* const page =
      ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (page == MAP_FAILED) return nullptr;
  return Shared<T>(new (page) T);
}

std::string describe(int status) {
  if (WIFSIGNALED(status)) {
    const char* const name = ::sigabbrev_np(WTERMSIG(status));
    return std::string("was killed by ") +
           (name ? "SIG" + std::string(name) : "signal " + std::to_string(WTERMSIG(status)));
  }
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

template <class... Types>
struct Visitor : Types... {
  using Types::operator()...;
};
template <class... Types>
Visitor(Types...) -> Visitor<Types...>;

}  // namespace

WorkerPool::WorkerPool(event::Reactor& reactor, WorkerSetup setup, WorkerListener& listener)
    : reactor_(reactor),
      setup_(std::move(setup)),
      listener_(listener),
      kill_timer_([this] { kill_all(); }),
      gone_timer_([this] { check_gone(); }) {}

WorkerPool::~WorkerPool() {
  kill_all();
  for (auto& slot : slots_) {
    if (slot->channel) reactor_.remove(slot->channel.get(), slot->handler);
    if (slot->pid != 0) ::waitpid(slot->pid, nullptr, 0);
  }
}

Result<> WorkerPool::start(const tun::TunQueues& tun, std::vector<Endpoint> proxies) {
  stopping_ = false;
  kill_timer_.cancel();
  tun_ = &tun;
  proxies_ = std::move(proxies);
  slots_.clear();
  for (unsigned i = 0; i < tun.queues.size(); ++i) {
    slots_.push_back(std::make_unique<Slot>(i, *this));
    if (auto launched = launch(*slots_.back()); !launched) return launched;
  }
  return {};
}

Result<> WorkerPool::launch(Slot& slot) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail_errno(errno, "making a worker's channel");
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  // Without them the worker runs, uncounted, and its connections end at their next packet.
  slot.stats = make_shared_memory<WorkerStats>("proxyvpn-stats");
  slot.book = make_shared_memory<connect::FlowBook>("proxyvpn-flows");
  slot.life = ++lives_;
  const pid_t supervisor = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "starting a worker process (fork)");
  if (pid == 0) run_child(slot, std::move(theirs), supervisor);
  if (!reactor_.add(ours.get(), EPOLLIN, slot.handler)) {
    const int err = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail_errno(err, "watching a worker's channel (epoll_ctl)");
  }
  slot.pid = pid;
  slot.channel = std::move(ours);
  slot.born = reactor_.now();
  slot.watch = {};
  slot.output_wanted = false;
  slot.owed.clear();
  return {};
}

void WorkerPool::run_child(Slot& slot, UniqueFd channel, pid_t supervisor) {
  // The supervisor's death ends us; when it died before we could say so, our parent has changed.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != supervisor) ::_exit(1);
  ::prctl(PR_SET_NAME, "proxyvpn-worker");
  // Ctrl-C goes to the whole terminal: only the supervisor decides when we end.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP}) {
    ::signal(signal, SIG_IGN);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  log::set_record_output(setup_.log_fd);

  scrub_freed_memory(false);

  EngineConfig config = std::move(setup_.engine);
  config.try_proxy = config.try_proxy && slot.index == 0;
  const int queue = tun_->queues[slot.index].get();
  config.offloads = tun_->offloads;
  config.stats = slot.stats.get();
  config.book = slot.book.get();
  config.proxies = proxies_;
  config.first_flow_id = connect::first_flow_id(slot.life);
  const int keep[] = {queue, channel.get(), setup_.log_fd};
  if (setup_.enter_sandbox) {
    if (auto entered = setup_.enter_sandbox(keep); !entered) {
      log::error("a worker can't give up its privileges and does not run",
                 {{"reason", entered.error().message}});
      ::_exit(1);
    }
  }
  config.tun = UniqueFd(queue);
  config.channel = std::move(channel);
  ::_exit(setup_.run(std::move(config)));
}

void WorkerPool::on_channel(Slot& slot, std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(slot);
  if (slot.channel && (events & EPOLLOUT) != 0) serve(slot);
}

void WorkerPool::receive(Slot& slot) {
  for (std::size_t i = 0; i < kMessagesPerTurn && slot.channel; ++i) {
    const Received received = receive_message(slot.channel.get());
    switch (received.status) {
      case Received::Status::Nothing:
        return;
      case Received::Status::Closed:
        // It ends or has ended; SIGCHLD brings the rest. Its descriptor would be ready for ever.
        reactor_.remove(slot.channel.get(), slot.handler);
        slot.channel.reset();
        return;
      case Received::Status::Message: {
        const auto message = decode_to_supervisor(received.bytes);
        if (!message || !received.descriptors.empty()) return reject(slot, "a malformed message");
        handle(slot, *message);
        break;
      }
    }
  }
}

void WorkerPool::handle(Slot& slot, const ToSupervisor& message) {
  slot.watch.beat();
  std::visit(Visitor{
                 [&](const NeedSockets& need) {
                   if (slot.owed.size() >= kMostOwed) return reject(slot, "too many requests");
                   slot.owed.push_back(Sockets{need.family, need.count});
                   serve(slot);
                 },
                 [&](const ProxyLost& lost) { listener_.on_proxy_lost(slot.index, lost); },
                 [&](const ProxyBack&) { listener_.on_proxy_back(slot.index); },
                 [&](const Resolve&) { listener_.on_resolve(slot.index); },
                 [&](const Ready&) { listener_.on_ready(slot.index); },
                 [&](const Beat&) {},
             },
             message);
}

void WorkerPool::serve(Slot& slot) {
  while (!slot.owed.empty()) {
    ToWorker message = slot.owed.front();
    // Sockets are made when they can be sent, so that a full channel holds no descriptors.
    std::vector<UniqueFd> sockets;
    std::vector<int> descriptors;
    if (auto* answer = std::get_if<Sockets>(&message)) {
      sockets = setup_.make_sockets(answer->family, answer->count);
      for (const auto& socket : sockets) descriptors.push_back(socket.get());
      answer->count = static_cast<std::uint8_t>(sockets.size());
    }
    auto bytes = encode(message);
    const bool sent = send_message(slot.channel.get(), bytes, descriptors);
    const int error = errno;
    wipe(reinterpret_cast<char*>(bytes.data()), bytes.size());  // a password may be in it
    errno = error;
    if (!sent) {
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
        return want_output(slot, true);
      }
      if (errno == ETOOMANYREFS && !descriptors.empty()) {
        // The kernel's limit of descriptors in flight (unix(7)): as good as having none.
        slot.owed.front() = Sockets{std::get<Sockets>(message).family, 0};
        continue;
      }
      break;  // it is gone; SIGCHLD follows
    }
    slot.owed.pop_front();
  }
  want_output(slot, false);
}

void WorkerPool::want_output(Slot& slot, bool on) {
  if (slot.output_wanted == on) return;
  const std::uint32_t events = EPOLLIN | (on ? std::uint32_t{EPOLLOUT} : 0u);
  if (reactor_.modify(slot.channel.get(), events, slot.handler)) slot.output_wanted = on;
}

void WorkerPool::reject(Slot& slot, const char* why) {
  log::error("a worker said what no worker says and is killed",
             {{"worker", slot.index}, {"what", why}});
  kill_slot(slot);
}

void WorkerPool::kill_slot(Slot& slot) noexcept {
  // It may run as another user. Gone already is what we want.
  if (slot.pid != 0) static_cast<void>(signal_child(slot.pid, SIGKILL));
}

void WorkerPool::kill_all() noexcept {
  for (auto& slot : slots_) kill_slot(*slot);
}

void WorkerPool::reap() {
  for (auto& slot : slots_) {
    if (slot->pid == 0) continue;
    int status = 0;
    const pid_t gone = ::waitpid(slot->pid, &status, WNOHANG);
    if (gone == slot->pid) buried(*slot, status);
  }
  check_gone();
}

void WorkerPool::buried(Slot& slot, int status) {
  slot.pid = 0;
  if (slot.channel) {
    reactor_.remove(slot.channel.get(), slot.handler);
    slot.channel.reset();
  }
  if (slot.stats) carried_.add(*slot.stats, false);
  slot.stats.reset();
  const auto lost = slot.book ? slot.book->open_flows() : std::vector<stack::FlowKey>();
  slot.book.reset();
  slot.owed.clear();
  if (stopping_) return;
  const Duration delay = slot.policy.after_death(reactor_.now() - slot.born);
  listener_.on_death(slot.index, describe(status), slot.policy.deaths(), delay);
  if (stopping_) return;
  slot.restart.arm(reactor_.timers(), reactor_.now() + delay);
  listener_.on_flows_lost(lost);
}

void WorkerPool::tick() {
  for (auto& slot : slots_) {
    if (slot->pid == 0 || stopping_) continue;
    if (!slot->watch.tick()) continue;
    log::error("a worker does not answer any more and is killed", {{"worker", slot->index}});
    slot->watch = {};
    kill_slot(*slot);
  }
}

void WorkerPool::set_proxies(std::vector<Endpoint> proxies) {
  proxies_ = std::move(proxies);
  tell(ProxyAddresses{proxies_});
}

// Of each kind the latest is the only one that counts.
template <class Message>
void WorkerPool::tell(const Message& message) {
  for (auto& slot : slots_) {
    if (slot->pid == 0 || !slot->channel || stopping_) continue;
    std::erase_if(slot->owed,
                  [](const ToWorker& owed) { return std::holds_alternative<Message>(owed); });
    slot->owed.push_back(message);
    serve(*slot);
  }
}

void WorkerPool::set_options(const Config& config, bool credentials) {
  setup_.engine.verbose = config.verbose;
  setup_.engine.connect_timeout = config.connect_timeout;
  setup_.engine.preconnect = config.preconnect;
  setup_.engine.credentials = config.proxy.credentials;
  tell(SetVerbose{config.verbose});
  tell(SetOptions{static_cast<std::uint32_t>(config.connect_timeout.count()), config.preconnect,
                  config.log_level});
  if (!credentials) return;
  SetCredentials message;
  if (const auto& known = config.proxy.credentials) {
    message = SetCredentials{true, known->username, known->password};
  }
  tell(message);
}

void WorkerPool::stop(Duration patience) {
  stopping_ = true;
  for (auto& slot : slots_) {
    slot->restart.cancel();
    if (slot->pid == 0 || !slot->channel) continue;
    slot->owed.assign(1, Stop{});
    serve(*slot);
  }
  kill_timer_.arm(reactor_.timers(), reactor_.now() + patience);
  gone_timer_.arm(reactor_.timers(), reactor_.now());  // when none runs there is no SIGCHLD
}

void WorkerPool::check_gone() {
  if (!stopping_ || running() != 0) return;
  kill_timer_.cancel();
  gone_timer_.cancel();
  stopping_ = false;
  slots_.clear();
  listener_.on_all_gone();
}

unsigned WorkerPool::running() const noexcept {
  unsigned count = 0;
  for (const auto& slot : slots_) count += slot->pid != 0 ? 1u : 0u;
  return count;
}

WorkerTotals WorkerPool::totals() const noexcept {
  WorkerTotals totals = carried_;
  for (const auto& slot : slots_) {
    if (slot->stats) totals.add(*slot->stats, true);
  }
  return totals;
}

std::vector<WorkerStatus> WorkerPool::list() const {
  std::vector<WorkerStatus> workers;
  for (const auto& slot : slots_) {
    WorkerStatus worker;
    worker.number = slot->index;
    worker.pid = slot->pid;
    WorkerTotals totals;
    if (slot->stats) totals.add(*slot->stats, slot->pid != 0);
    worker.flows_open = totals.flows_open;
    worker.bytes_up = totals.bytes_up;
    worker.bytes_down = totals.bytes_down;
    workers.push_back(worker);
  }
  return workers;
}

std::optional<Endpoint> WorkerPool::proxy_in_use() const noexcept {
  for (const auto& slot : slots_) {
    if (!slot->stats) continue;
    const auto word = slot->stats->proxy_in_use.load(std::memory_order_relaxed);
    if (word == 0) continue;
    for (const Endpoint& proxy : proxies_) {
      if (std::hash<IpAddress>()(proxy.address) == word) return proxy;
    }
  }
  return std::nullopt;
}

std::optional<TimePoint> WorkerPool::next_retry() const noexcept {
  std::optional<TimePoint> first;
  for (const auto& slot : slots_) {
    const auto ns =
        slot->pid != 0 && slot->stats ? slot->stats->retry_at.load(std::memory_order_relaxed) : 0u;
    if (ns == 0) continue;
    const TimePoint when{std::chrono::nanoseconds(static_cast<std::int64_t>(ns))};
    if (!first || when < *first) first = when;
  }
  return first;
}

}  // namespace proxyvpn::app
