#include "connect/tunnel_table.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/hex.h"
#include "connect/refusal.h"
#include "connect/trial.h"
#include "connect/tunnel_setup.h"

namespace proxyvpn::connect {
namespace {

// This many unanswered requests for one target, each seemingly made by the one before, are a loop.
constexpr std::size_t kLoopDepth = 64;

constexpr milliseconds kPortRetry{200};

// What greedy connections may read in one turn, all together: about the time that one that is being
// opened waits for each of its steps.
constexpr std::uint64_t kBytesPerTurn = 512 * 1024;

constexpr std::string_view kTrialName = "proxyvpn.invalid";

template <class Map, class Key>
void count_down(Map& map, const Key& key) noexcept {
  const auto at = map.find(key);
  if (at != map.end() && --at->second == 0) map.erase(at);
}

std::string random_hex() {
  std::uint8_t bytes[16] = {};
  if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) std::abort();
  return hex(bytes);
}

}  // namespace

// One TCP connection to the proxy, to see whether it is there again.
class TunnelTable::Probe final : public event::Handler {
 public:
  Probe(TunnelTable& table, IpAddress address, UniqueFd fd)
      : table_(table),
        address_(address),
        fd_(std::move(fd)),
        timeout_([this] { table_.probe_ended(ETIMEDOUT); }) {}
  ~Probe() override {
    if (fd_) table_.reactor_.remove(fd_.get(), *this);
  }
  bool start() noexcept {
    const auto target = to_sockaddr({address_, table_.proxy_port_});
    const int rc = ::connect(fd_.get(), target.get(), target.length);
    if (rc < 0 && errno != EINPROGRESS) return false;
    timeout_.arm(table_.reactor_.timers(), table_.reactor_.now() + table_.options_.connect_timeout);
    return table_.reactor_.add(fd_.get(), EPOLLOUT | EPOLLET, *this);
  }
  void on_event(std::uint32_t) noexcept override {
    int err = 0;
    socklen_t length = sizeof err;
    if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &err, &length) < 0) err = errno;
    table_.probe_ended(err);
  }
  [[nodiscard]] const IpAddress& address() const noexcept { return address_; }

 private:
  TunnelTable& table_;
  IpAddress address_;
  UniqueFd fd_;
  event::Timer timeout_;
};

TunnelTable::TunnelTable(event::Reactor& reactor, SocketSource& sockets,
                         std::vector<Endpoint> proxies, std::optional<Credentials> credentials,
                         TunnelOptions options, ProxyEvents events)
    : reactor_(reactor),
      sockets_(sockets),
      authenticator_(make_authenticator(std::move(credentials), random_hex)),
      options_(options),
      events_(std::move(events)),
      ready_pool_(reactor, options.preconnect,
                  [this](IpAddress* address) { return open_connection(address); }),
      probe_timer_([this] { probe(); }),
      port_timer_([this] { sockets_available(); }),
      next_id_(options.first_id) {
  set_proxies(proxies);
}

TunnelTable::~TunnelTable() { stop_all(); }

void TunnelTable::set_proxies(std::span<const Endpoint> proxies) {
  std::vector<IpAddress> addresses;
  for (const auto& proxy : proxies) addresses.push_back(proxy.address);
  if (!proxies.empty()) proxy_port_ = proxies.front().port;
  if (addresses != known_) {
    known_ = addresses;
    addresses_.assign(addresses);
    ready_pool_.clear();
  }
  if (!health_.lost()) return;
  health_.retry_now(reactor_.now());
  arm_probe();
}

void TunnelTable::set_limits(Duration connect_timeout, std::size_t preconnect) noexcept {
  options_.connect_timeout = connect_timeout;
  ready_pool_.set_most(preconnect);
}

void TunnelTable::set_credentials(std::optional<Credentials> credentials) {
  authenticator_ = make_authenticator(std::move(credentials), random_hex);
  if (!health_.lost()) return;
  health_.retry_now(reactor_.now());
  arm_probe();
}

void TunnelTable::on_syn(stack::TcpFlow& flow) noexcept {
  ++counters_.total;
  if (health_.lost()) {
    // Refused at once instead of hanging. When a probe by TCP cannot tell (a password, say), a real
    // connection is the probe, at most one per back-off.
    const bool is_probe =
        health_.trouble() != Trouble::Unreachable && health_.take_retry(reactor_.now());
    if (!is_probe) {
      ++counters_.refused_proxy_lost;
      if (options_.verbose) log_refused(flow.key(), "the proxy is lost");
      flow.refuse(refusal_for_trouble(Trouble::Unreachable));
      return;
    }
  }
  const IpAddress& source = flow.key().source.address;
  const auto others = pending_by_source_.find(source);
  const std::size_t of_source = others == pending_by_source_.end() ? 0 : others->second;
  const bool crowded =
      pending_ >= options_.max_pending || tunnels_.size() >= options_.max_tunnels ||
      (of_source >= options_.max_pending_per_source && pending_by_source_.size() > 1);
  if (crowded) {
    ++counters_.dropped_at_limit;  // no handler: the SYN is dropped and comes again
    return;
  }
  if (comes_back(flow.key())) {
    const Endpoint target = flow.key().destination;
    if (options_.verbose) log_refused(flow.key(), "the proxy asks itself");
    flow.refuse(refusal_for_trouble(Trouble::Loop));
    break_loop(target);
    return;
  }
  begin(flow);
}

void TunnelTable::begin(stack::TcpFlow& flow) noexcept {
  const IpAddress source = flow.key().source.address;
  auto tunnel = std::make_unique<Tunnel>(*this, flow, next_id_++);
  Tunnel& started = *tunnel;
  started.slot_ = static_cast<std::uint32_t>(tunnels_.size());
  started.pending_ = true;
  ++pending_;
  ++pending_by_source_[source];
  ++pending_by_target_[started.key().destination];
  if (options_.book != nullptr) options_.book->add(started.slot_, started.key());
  tunnels_.push_back(std::move(tunnel));
  started.start();
}

// A proxy on this machine whose own connections are captured: it asks for the target, we ask it for
// the target, and so on. Then the SYNs come from its address, or the proxy is on loopback.
bool TunnelTable::comes_back(const stack::FlowKey& key) const noexcept {
  const auto at = pending_by_target_.find(key.destination);
  if (at == pending_by_target_.end() || at->second < kLoopDepth) return false;
  const auto proxies = addresses_.ordered();
  return std::any_of(proxies.begin(), proxies.end(), [&](const IpAddress& proxy) {
    return proxy.is_loopback() || proxy == key.source.address;
  });
}

void TunnelTable::break_loop(const Endpoint& target) noexcept {
  std::vector<Tunnel*> caught;
  for (const auto& tunnel : tunnels_) {
    if (tunnel->pending_ && tunnel->key().destination == target) caught.push_back(tunnel.get());
  }
  report_trouble(Trouble::Loop, 0, 0);
  for (Tunnel* tunnel : caught) tunnel->stop(End::ProxyTrouble);
}

void TunnelTable::settled(Tunnel& tunnel) noexcept {
  if (!tunnel.pending_) return;
  tunnel.pending_ = false;
  --pending_;
  count_down(pending_by_source_, tunnel.key().source.address);
  count_down(pending_by_target_, tunnel.key().destination);
}

void TunnelTable::sockets_available() noexcept {
  while (!waiting_.empty()) {
    Tunnel* tunnel = waiting_.front();
    waiting_.pop_front();
    if (tunnel->socket_available()) continue;
    // It has queued itself again, at the end: it was the first and stays the first.
    waiting_.pop_back();
    waiting_.push_front(tunnel);
    return;
  }
}

void TunnelTable::note_open(const Tunnel& tunnel) noexcept {
  if (options_.book != nullptr) options_.book->opened(tunnel.slot_);
}

void TunnelTable::wait_for_port(Tunnel& tunnel) noexcept {
  waiting_.push_back(&tunnel);
  if (!port_timer_.armed()) port_timer_.arm(reactor_.timers(), reactor_.now() + kPortRetry);
}

void TunnelTable::end_of_turn() noexcept {
  // Each once, in the order in which they came; the rest after a look at what else has happened.
  const std::uint64_t before = counters_.bytes_down;
  for (std::size_t n = ready_.size(); n > 0 && !ready_.empty(); --n) {
    if (counters_.bytes_down - before >= kBytesPerTurn) break;
    Tunnel* tunnel = ready_.front();
    ready_.pop_front();
    tunnel->resume();
  }
  go_on();
  if (!health_.lost()) ready_pool_.refill();
  dead_.clear();
}

void TunnelTable::later(Tunnel& tunnel) noexcept {
  if (tunnel.queued_) return;
  tunnel.queued_ = true;
  ready_.push_back(&tunnel);
}

void TunnelTable::go_on() noexcept {
  if (!ready_.empty()) reactor_.hurry();
}

void TunnelTable::bury(Tunnel& tunnel, End why) noexcept {
  settled(tunnel);
  const bool is_reset = why == End::ResetByApp || why == End::ResetByProxy;
  const bool counts = !Trial::is_one(tunnel.key());
  if (is_reset && counts) ++counters_.resets;
  if (why == End::ProxyTrouble && counts) ++counters_.refused_proxy_lost;
  if (options_.verbose) log_end(tunnel, why);
  if (tunnel.setup_ || !waiting_.empty()) {
    waiting_.erase(std::remove(waiting_.begin(), waiting_.end(), &tunnel), waiting_.end());
  }
  if (tunnel.queued_)
    ready_.erase(std::remove(ready_.begin(), ready_.end(), &tunnel), ready_.end());
  const std::uint32_t slot = tunnel.slot_;
  if (options_.book != nullptr) options_.book->remove(slot, tunnels_.size());
  dead_.push_back(std::move(tunnels_[slot]));
  if (slot + 1 < tunnels_.size()) {
    tunnels_[slot] = std::move(tunnels_.back());
    tunnels_[slot]->slot_ = slot;
  }
  tunnels_.pop_back();
}

bool TunnelTable::kill(std::uint64_t id) noexcept {
  const auto at =
      std::find_if(tunnels_.begin(), tunnels_.end(), [&](const auto& t) { return t->id() == id; });
  if (at == tunnels_.end()) return false;
  (*at)->stop(End::Stopped);
  return true;
}

void TunnelTable::stop_all() noexcept {
  while (!tunnels_.empty()) tunnels_.back()->stop(End::Stopped);
  dead_.clear();
}

bool TunnelTable::is_asking(const stack::FlowKey& key) const noexcept {
  return std::any_of(tunnels_.begin(), tunnels_.end(), [&](const auto& tunnel) {
    return tunnel->key() == key && tunnel->state_ == Tunnel::State::Asking;
  });
}

Target TunnelTable::target_of(const Endpoint& endpoint) const {
  if (endpoint == Trial::key_target()) return {std::string(kTrialName), endpoint.port};
  auto name = namer_ ? namer_(endpoint.address) : std::nullopt;
  return name ? Target{std::move(*name), endpoint.port} : to_target(endpoint);
}

UniqueFd TunnelTable::open_connection(IpAddress* address) noexcept {
  // Room for tunnels first; and a race of addresses is a tunnel's business, not the pool's.
  if (addresses_.ordered().empty() ||
      tunnels_.size() + 2 * options_.preconnect >= options_.max_tunnels)
    return {};
  if (out_of_ports()) return {};
  *address = addresses_.ordered().front();
  UniqueFd fd = sockets_.take(address->family());
  if (!fd) return {};
  const auto target = to_sockaddr({*address, proxy_port_});
  if (::connect(fd.get(), target.get(), target.length) < 0 && errno != EINPROGRESS) return {};
  return fd;
}

void TunnelTable::report_slow(const Endpoint& target) noexcept {
  // One target that swallows packets, however often it is tried, is not a proxy that hangs.
  if (std::exchange(last_slow_, target) != target) report_trouble(Trouble::Slow, 0, ETIMEDOUT);
}

void TunnelTable::report_trouble(Trouble what, int status, int err) noexcept {
  const bool first = health_.failed(what, reactor_.now());
  // Whatever is wrong with it, the name may lead elsewhere by now.
  if ((health_.lost() || what == Trouble::Unreachable) && events_.resolve) events_.resolve();
  if (first) ready_pool_.clear();
  if (first && events_.lost) events_.lost(what, status, err);
  if (health_.lost()) arm_probe();
}

void TunnelTable::report_connected(const IpAddress& address) noexcept {
  addresses_.won(address);
  if (health_.connected()) proxy_is_back();
}

void TunnelTable::report_answered() noexcept {
  if (health_.worked()) proxy_is_back();
}

void TunnelTable::proxy_is_back() noexcept {
  probe_timer_.cancel();
  if (events_.back) events_.back();
}

void TunnelTable::arm_probe() noexcept {
  if (health_.trouble() != Trouble::Unreachable || probe_ != nullptr) return;
  probe_timer_.arm(reactor_.timers(), health_.retry_at());
}

void TunnelTable::probe() noexcept {
  if (!health_.lost() || probe_ != nullptr || addresses_.ordered().empty()) return;
  // Another address each time: the list is reordered by failures.
  const IpAddress address = addresses_.ordered().front();
  UniqueFd fd = sockets_.take(address.family());
  if (!fd) {
    probe_timer_.arm(reactor_.timers(), reactor_.now() + ProxyHealth::kFirstRetry);
    return;
  }
  probe_ = std::make_unique<Probe>(*this, address, std::move(fd));
  if (!probe_->start()) probe_ended(errno);
}

void TunnelTable::probe_ended(int err) noexcept {
  const IpAddress address = probe_->address();
  probe_.reset();
  if (err == 0) {
    report_connected(address);
    return;
  }
  addresses_.failed(address);
  report_trouble(Trouble::Unreachable, 0, err);
}

}  // namespace proxyvpn::connect
