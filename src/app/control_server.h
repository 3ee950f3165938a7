#pragma once
// The control socket as the daemon serves it (unix(7)): bounded in clients, bytes and time, and
// only for those who may command.
#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/control_protocol.h"
#include "app/state_dir.h"
#include "event/reactor.h"

namespace proxyvpn::app {

// Who is at the other end, as the kernel says (SO_PEERCRED, SO_PEERGROUPS).
struct Peer {
  pid_t pid = 0;
  uid_t uid = static_cast<uid_t>(-1);
  std::vector<gid_t> groups;  // the effective and all supplementary ones
};
Result<Peer> peer_of(int socket);

struct Access {
  uid_t owner = 0;             // who started the daemon
  std::optional<gid_t> group;  // members of the install group
};
bool may_command(const Peer& peer, const Access& access) noexcept;

class ControlServer {
 public:
  static constexpr std::size_t kMostClients = 16;
  static constexpr seconds kRequestTime{5};  // to send a request and to take its reply

  // A whole reply (ok_reply(), error_reply()), and what goes with its first bytes (SCM_RIGHTS).
  struct Answer {
    std::string text;
    std::vector<UniqueFd> descriptors;  // at most kMostDescriptors
  };
  // For Verb::Down, and for an answer without text, the connection then stays open until finish().
  using Handler = std::function<Answer(const Request& request, const Peer& peer)>;

  // Listens on the socket kControlName in `directory`, for which the caller holds the lock: what a
  // dead daemon left there is replaced. Mode 0660 and the install group from birth on.
  // `reactor` and `directory` outlive it.
  static Result<std::unique_ptr<ControlServer>> open(event::Reactor& reactor,
                                                     const StateDir& directory, Access access,
                                                     Handler handler);
  ~ControlServer();  // closes every connection and removes the socket
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // The last word ("done\n", error_reply()) to those who asked for `down`. Their connections close
  // with the server.
  void finish(const std::string& text);
  // The whole answer to those who asked for this and have none yet.
  void finish(Verb verb, const std::string& text);

 private:
  struct Client;
  ControlServer(event::Reactor& reactor, const StateDir& directory, Access access, Handler handler);
  void accept_all();
  void on_client(Client& client, std::uint32_t events);
  void read_request(Client& client);
  void answer(Client& client);
  void flush(Client& client);
  void drop(Client& client);
  void bury();

  event::Reactor& reactor_;
  const StateDir& directory_;
  Access access_;
  Handler handler_;
  UniqueFd listener_;
  event::FunctionHandler listen_handler_;
  std::vector<std::unique_ptr<Client>> clients_;
  event::Timer bury_timer_;  // frees clients outside of their own callbacks
};

}  // namespace proxyvpn::app
