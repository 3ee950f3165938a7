#pragma once
// All tunnels of one worker, what they share, and the limits of what may be asked of the proxy.
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "connect/address_order.h"
#include "connect/flow_book.h"
#include "connect/http_connect.h"
#include "connect/proxy_health.h"
#include "connect/ready_pool.h"
#include "connect/socket_source.h"
#include "connect/tunnel.h"
#include "event/reactor.h"
#include "stack/tcp_flow.h"

namespace proxyvpn::connect {

struct TunnelOptions {
  Duration connect_timeout = seconds(10);
  std::size_t max_pending = 4096;  // tunnels that have no answer yet; SYNs beyond are dropped
  std::size_t max_pending_per_source = 2048;  // of one address, when there are others
  std::size_t max_tunnels = 1 << 20;
  std::size_t preconnect = 0;  // connections to the proxy held ready at most
  bool fast_open = true;       // the request goes with the SYN where the proxy knows us (RFC 7413)
  std::uint64_t first_id = 1;  // the number of the first tunnel
  bool verbose = false;
  FlowBook* book = nullptr;  // where connections are noted; not owned, may be null
};

struct TunnelCounters {
  std::uint64_t total = 0;
  std::uint64_t refused_by_proxy = 0;
  std::uint64_t refused_proxy_lost = 0;  // also those that found out that it is
  std::uint64_t dropped_at_limit = 0;
  std::uint64_t timeouts = 0;
  std::uint64_t resets = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
};

// Told to whoever owns the worker. Called at most once per change.
struct ProxyEvents {
  std::function<void(Trouble, int status, int sys_errno)> lost;
  std::function<void()> back;
  std::function<void()> resolve;  // every address failed
};

class TunnelTable final : public stack::FlowAcceptor {
 public:
  // `reactor` and `sockets` are not owned and must outlive the table.
  TunnelTable(event::Reactor& reactor, SocketSource& sockets, std::vector<Endpoint> proxies,
              std::optional<Credentials> credentials, TunnelOptions options, ProxyEvents events);
  ~TunnelTable() override;
  TunnelTable(const TunnelTable&) = delete;
  TunnelTable& operator=(const TunnelTable&) = delete;

  void on_syn(stack::TcpFlow& flow) noexcept override;
  // Replaces the proxy's addresses; running tunnels keep theirs.
  void set_proxies(std::span<const Endpoint> proxies);
  // For tunnels that begin from now on.
  void set_verbose(bool verbose) noexcept { options_.verbose = verbose; }
  void set_limits(Duration connect_timeout, std::size_t preconnect) noexcept;
  // The same; a proxy that is lost is tried at once with them.
  void set_credentials(std::optional<Credentials> credentials);
  // Where an address stands for a name, the name, which the proxy is asked for instead. May be
  // empty.
  void set_namer(std::function<std::optional<std::string>(const IpAddress&)> namer) {
    namer_ = std::move(namer);
  }
  // The source has sockets of this family again.
  void sockets_available() noexcept;
  // Once per turn: leftovers, and the funerals.
  void end_of_turn() noexcept;
  // After whatever may have made work behind that.
  void go_on() noexcept;
  bool kill(std::uint64_t id) noexcept;
  // Calls `visit` for each tunnel; it must not change any.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& tunnel : tunnels_) visit(tunnel->info());
  }
  void stop_all() noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return tunnels_.size(); }
  [[nodiscard]] std::size_t pending() const noexcept { return pending_; }
  [[nodiscard]] const TunnelCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const ProxyHealth& health() const noexcept { return health_; }
  // The address of the proxy that was connected to last.
  [[nodiscard]] const std::optional<IpAddress>& proxy_in_use() const noexcept {
    return addresses_.winner();
  }

 private:
  friend class Tunnel;
  friend class Trial;
  class Probe;

  void begin(stack::TcpFlow& flow) noexcept;  // past all limits
  [[nodiscard]] bool is_asking(const stack::FlowKey& key) const noexcept;

  [[nodiscard]] Target target_of(const Endpoint& endpoint) const;
  UniqueFd open_connection(IpAddress* address) noexcept;
  UniqueFd ready_connection(IpAddress* address) noexcept { return ready_pool_.take(address); }
  void report_slow(const Endpoint& target) noexcept;
  void report_trouble(Trouble what, int status, int err) noexcept;
  void report_connected(const IpAddress& address) noexcept;
  void report_answered() noexcept;
  void proxy_is_back() noexcept;
  void arm_probe() noexcept;
  void probe() noexcept;
  void probe_ended(int err) noexcept;
  void bury(Tunnel& tunnel, End why) noexcept;
  void later(Tunnel& tunnel) noexcept;
  void wait_for_socket(Tunnel& tunnel) { waiting_.push_back(&tunnel); }
  void wait_for_port(Tunnel& tunnel) noexcept;
  // Just now there was none, and looking for one is a walk through all of them.
  [[nodiscard]] bool out_of_ports() const noexcept { return port_timer_.armed(); }
  void note_open(const Tunnel& tunnel) noexcept;
  void settled(Tunnel& tunnel) noexcept;  // has its answer: not pending any more
  [[nodiscard]] bool comes_back(const stack::FlowKey& key) const noexcept;
  void break_loop(const Endpoint& target) noexcept;
  void log_end(const Tunnel& tunnel, End why) const noexcept;
  void log_refused(const stack::FlowKey& key, std::string_view reason) noexcept;  // at once

  event::Reactor& reactor_;
  SocketSource& sockets_;
  std::shared_ptr<Authenticator> authenticator_;  // tunnels being set up keep theirs
  TunnelOptions options_;
  ProxyEvents events_;
  std::function<std::optional<std::string>(const IpAddress&)> namer_;
  ProxyAddresses addresses_;
  std::vector<IpAddress> known_;  // the list as it was told
  std::optional<Endpoint> last_slow_;
  std::uint16_t proxy_port_ = 0;
  ProxyHealth health_;
  ReadyPool ready_pool_;
  TunnelCounters counters_;
  std::vector<std::unique_ptr<Tunnel>> tunnels_;
  std::vector<std::unique_ptr<Tunnel>> dead_;
  std::deque<Tunnel*> ready_;    // have much to read, in turns
  std::deque<Tunnel*> waiting_;  // for a socket, oldest first
  std::unordered_map<IpAddress, std::size_t> pending_by_source_;
  std::unordered_map<Endpoint, std::size_t> pending_by_target_;
  std::unique_ptr<Probe> probe_;
  event::Timer probe_timer_;
  event::Timer port_timer_;  // no port was left; when to look again
  std::size_t pending_ = 0;
  std::uint64_t next_id_;
};

}  // namespace proxyvpn::connect
