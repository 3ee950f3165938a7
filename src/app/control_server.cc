#include "app/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include "app/passed_descriptors.h"
#include "base/log.h"

namespace proxyvpn::app {
namespace {

constexpr int kControlBacklog = 16;
constexpr std::size_t kMostPeerGroups = 65536;  // NGROUPS_MAX

// Relative to the open directory, so that no path component can be swapped under us and a long
// path fits into sun_path.
sockaddr_un address_in(const StateDir& directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(directory.fd()) + "/" + kControlName;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// The bytes, with those descriptors beside them that there is room for.
ssize_t send_bytes(int socket, std::string_view bytes, const std::vector<UniqueFd>& descriptors) {
  std::array<int, kMostDescriptors> numbers{};
  const std::size_t count = std::min(descriptors.size(), numbers.size());
  for (std::size_t i = 0; i < count; ++i) numbers[i] = descriptors[i].get();
  return send_with(socket, std::as_bytes(std::span(bytes)), std::span(numbers).first(count));
}

}  // namespace

Result<Peer> peer_of(int socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return fail_errno(errno, "asking who is at the other end (SO_PEERCRED)");
  }
  Peer peer;
  peer.pid = credentials.pid;
  peer.uid = credentials.uid;
  std::vector<gid_t> groups(64);
  for (;;) {
    length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) == 0) {
      groups.resize(length / sizeof(gid_t));
      break;
    }
    // ERANGE answers the length that is needed. Without the option (before Linux 4.13) only the
    // effective group counts.
    if (errno != ERANGE || length / sizeof(gid_t) > kMostPeerGroups) {
      groups.clear();
      break;
    }
    groups.resize(length / sizeof(gid_t));
  }
  peer.groups = std::move(groups);
  peer.groups.push_back(credentials.gid);
  return peer;
}

bool may_command(const Peer& peer, const Access& access) noexcept {
  if (peer.uid == 0 || peer.uid == access.owner) return true;
  return access.group &&
         std::find(peer.groups.begin(), peer.groups.end(), *access.group) != peer.groups.end();
}

struct ControlServer::Client {
  Client(ControlServer& server, UniqueFd connection, Peer who)
      : socket(std::move(connection)),
        peer(std::move(who)),
        handler([this, &server](std::uint32_t events) { server.on_client(*this, events); }),
        deadline([this, &server] { server.drop(*this); }) {}

  UniqueFd socket;
  Peer peer;
  event::FunctionHandler handler;
  event::Timer deadline;
  RequestReader request;
  std::string output;
  std::vector<UniqueFd> descriptors;  // go with the first byte of the output
  bool answered = false;
  bool waits_for_answer = false;
  bool waits_for_end = false;  // asked for `down`
};

ControlServer::ControlServer(event::Reactor& reactor, const StateDir& directory, Access access,
                             Handler handler)
    : reactor_(reactor),
      directory_(directory),
      access_(access),
      handler_(std::move(handler)),
      listen_handler_([this](std::uint32_t) { accept_all(); }),
      bury_timer_([this] { bury(); }) {}

Result<std::unique_ptr<ControlServer>> ControlServer::open(event::Reactor& reactor,
                                                           const StateDir& directory, Access access,
                                                           Handler handler) {
  const std::string what = "control socket " + directory.path() + "/" + kControlName;
  std::unique_ptr<ControlServer> server(
      new ControlServer(reactor, directory, access, std::move(handler)));
  if (auto removed = directory.remove_file(kControlName); !removed) {
    return tl::unexpected(removed.error());
  }
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener) return fail_errno(errno, what);
  const sockaddr_un address = address_in(directory);
  // The umask decides the mode at birth: closed to all but us until the group is set. Nobody can
  // connect before listen(2).
  const mode_t old_mask = ::umask(0177);
  const int bound =
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int bind_errno = errno;
  ::umask(old_mask);
  if (bound != 0) return fail_errno(bind_errno, what);
  directory.share_with_group(kControlName, 0660);
  if (::listen(listener.get(), kControlBacklog) != 0) return fail_errno(errno, what);
  if (!reactor.add(listener.get(), EPOLLIN, server->listen_handler_)) {
    return fail_errno(errno, what);
  }
  server->listener_ = std::move(listener);
  return server;
}

ControlServer::~ControlServer() {
  for (auto& client : clients_) {
    if (client->socket) reactor_.remove(client->socket.get(), client->handler);
  }
  if (!listener_) return;
  reactor_.remove(listener_.get(), listen_handler_);
  static_cast<void>(directory_.remove_file(kControlName));  // a stale socket is replaced anyway
}

void ControlServer::accept_all() {
  for (;;) {
    UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection) return;  // none left; EMFILE: they wait in the backlog
    auto peer = peer_of(connection.get());
    if (!peer) continue;
    const auto open = std::count_if(clients_.begin(), clients_.end(),
                                    [](const auto& client) { return client->socket.valid(); });
    if (static_cast<std::size_t>(open) >= kMostClients) {
      const std::string busy = error_reply("too many clients at once: try again");
      static_cast<void>(
          ::send(connection.get(), busy.data(), busy.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
      continue;
    }
    auto client = std::make_unique<Client>(*this, std::move(connection), std::move(*peer));
    if (!reactor_.add(client->socket.get(), EPOLLIN, client->handler)) continue;
    client->deadline.arm(reactor_.timers(), reactor_.now() + kRequestTime);
    clients_.push_back(std::move(client));
  }
}

void ControlServer::on_client(Client& client, std::uint32_t events) {
  if (!client.answered && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    return read_request(client);
  }
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) return drop(client);
  if ((events & EPOLLOUT) != 0) flush(client);
}

void ControlServer::read_request(Client& client) {
  char buffer[kMaxRequest];
  const ssize_t n = ::recv(client.socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop(client);
  if (client.request.feed({buffer, static_cast<std::size_t>(n)}) !=
      RequestReader::State::NeedMore) {
    answer(client);
  }
}

void ControlServer::answer(Client& client) {
  client.answered = true;
  if (client.request.state() == RequestReader::State::Invalid) {
    client.output = error_reply(client.request.problem());
  } else if (!may_command(client.peer, access_)) {
    client.output =
        error_reply("user " + std::to_string(client.peer.uid) +
                    " may not command this proxyvpn: only user " + std::to_string(access_.owner) +
                    (access_.group ? std::string(", root and members of the group ") + kInstallGroup
                                   : std::string(" and root")) +
                    " may");
    log::warning("a command was refused",
                 {{"user", client.peer.uid}, {"process", client.peer.pid}});
  } else {
    client.waits_for_end = client.request.request().verb == Verb::Down;
    Answer answered = handler_(client.request.request(), client.peer);
    client.waits_for_answer = answered.text.empty();
    client.output = std::move(answered.text);
    client.descriptors = std::move(answered.descriptors);
  }
  flush(client);
}

void ControlServer::flush(Client& client) {
  while (!client.output.empty()) {
    const ssize_t n = send_bytes(client.socket.get(), client.output, client.descriptors);
    if (n < 0 && errno == EAGAIN) {
      if (!reactor_.modify(client.socket.get(), EPOLLOUT, client.handler)) drop(client);
      return;
    }
    if (n < 0) return drop(client);
    client.output.erase(0, static_cast<std::size_t>(n));
    client.descriptors.clear();
  }
  if (!client.waits_for_end && !client.waits_for_answer) return drop(client);
  // Nothing more is read; only its going away is of interest.
  client.deadline.cancel();
  if (!reactor_.modify(client.socket.get(), 0, client.handler)) drop(client);
}

void ControlServer::drop(Client& client) {
  if (!client.socket) return;
  reactor_.remove(client.socket.get(), client.handler);
  client.socket.reset();
  client.deadline.cancel();
  bury_timer_.arm(reactor_.timers(), reactor_.now());
}

void ControlServer::bury() {
  std::erase_if(clients_, [](const auto& client) { return !client->socket; });
}

void ControlServer::finish(Verb verb, const std::string& text) {
  for (auto& client : clients_) {
    if (!client->socket || !client->waits_for_answer) continue;
    if (client->request.request().verb != verb) continue;
    client->waits_for_answer = false;
    client->output = text;
    client->deadline.arm(reactor_.timers(), reactor_.now() + kRequestTime);
    flush(*client);
  }
}

void ControlServer::finish(const std::string& text) {
  for (auto& client : clients_) {
    if (!client->socket || !client->waits_for_end) continue;
    // A client that does not read is not waited for: the end of the stream tells it the same.
    static_cast<void>(
        ::send(client->socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  }
}

}  // namespace proxyvpn::app
