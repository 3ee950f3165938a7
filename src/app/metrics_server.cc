#include "app/metrics_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/metrics_request.h"
#include "app/metrics_text.h"
#include "app/status_json.h"
#include "event/reactor.h"

namespace proxyvpn::app {
namespace {

constexpr std::size_t kMostClients = 16;
constexpr seconds kClientTime{5};       // for a request and its answer
constexpr milliseconds kFreshFor{200};  // an answer does for all who ask meanwhile

class MetricsServer {
 public:
  MetricsServer(event::Reactor reactor, UniqueFd listener, UniqueFd channel);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;
  int run() noexcept;

 private:
  struct Client {
    Client(MetricsServer& server, UniqueFd connection)
        : socket(std::move(connection)),
          handler([this, &server](std::uint32_t events) { server.on_client(*this, events); }),
          deadline([this, &server] { server.drop(*this); }) {}
    UniqueFd socket;
    event::FunctionHandler handler;
    event::Timer deadline;
    MetricsRequest request;
    std::string output;
    bool waits = false;  // for the supervisor's answer
  };

  void accept_all();
  void on_channel();
  void on_client(Client& client, std::uint32_t events);
  void read(Client& client);
  void flush(Client& client);
  void drop(Client& client);
  void respond(Client& client, int status);
  void bury() {
    std::erase_if(clients_, [](const auto& client) { return !client->socket; });
  }

  event::Reactor reactor_;
  UniqueFd listener_;
  UniqueFd channel_;
  event::FunctionHandler listen_handler_;
  event::FunctionHandler channel_handler_;
  event::Timer bury_timer_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::string body_;
  std::optional<TimePoint> fresh_until_;
  int exit_code_ = 0;
};

MetricsServer::MetricsServer(event::Reactor reactor, UniqueFd listener, UniqueFd channel)
    : reactor_(std::move(reactor)),
      listener_(std::move(listener)),
      channel_(std::move(channel)),
      listen_handler_([this](std::uint32_t) { accept_all(); }),
      channel_handler_([this](std::uint32_t) { on_channel(); }),
      bury_timer_([this] { bury(); }) {}

MetricsServer::~MetricsServer() {
  for (auto& client : clients_) {
    if (client->socket) reactor_.remove(client->socket.get(), client->handler);
  }
}

int MetricsServer::run() noexcept {
  if (!reactor_.add(listener_.get(), EPOLLIN, listen_handler_) ||
      !reactor_.add(channel_.get(), EPOLLIN, channel_handler_) || !reactor_.run()) {
    return 1;
  }
  return exit_code_;
}

void MetricsServer::accept_all() {
  for (;;) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) return;
    const auto open = std::count_if(clients_.begin(), clients_.end(),
                                    [](const auto& client) { return client->socket.valid(); });
    if (static_cast<std::size_t>(open) >= kMostClients) continue;  // closed at once
    auto client = std::make_unique<Client>(*this, std::move(socket));
    if (!reactor_.add(client->socket.get(), EPOLLIN, client->handler)) continue;
    client->deadline.arm(reactor_.timers(), reactor_.now() + kClientTime);
    clients_.push_back(std::move(client));
  }
}

void MetricsServer::on_client(Client& client, std::uint32_t events) {
  if (!client.output.empty()) return flush(client);
  if (client.waits) return drop(client);  // it went away
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(client);
}

void MetricsServer::read(Client& client) {
  char buffer[2048];
  const ssize_t n = ::recv(client.socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop(client);
  if (client.request.feed({buffer, static_cast<std::size_t>(n)}) ==
      MetricsRequest::State::NeedMore) {
    return;
  }
  if (client.request.status() != 200) return respond(client, client.request.status());
  if (fresh_until_ && reactor_.now() < *fresh_until_) return respond(client, 200);
  const bool asked =
      std::any_of(clients_.begin(), clients_.end(), [](const auto& other) { return other->waits; });
  client.waits = true;
  // Whether it has closed its sending side, or says more, is of no interest meanwhile.
  if (!reactor_.modify(client.socket.get(), 0, client.handler)) return drop(client);
  if (asked) return;
  // A full channel has questions enough in it; the answer to them is the answer to this one.
  static_cast<void>(::send(channel_.get(), &kAskForStatus, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
}

void MetricsServer::on_channel() {
  std::string message(kMostStatusBytes, '\0');
  const ssize_t n = ::recv(channel_.get(), message.data(), message.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return reactor_.stop();  // the supervisor is gone
  message.resize(static_cast<std::size_t>(n));
  const auto status = parse_status(message);
  auto text = status ? metrics_text(*status) : tl::unexpected(status.error());
  const int answer = text ? 200 : 503;
  if (text) {
    body_ = std::move(*text);
    fresh_until_ = reactor_.now() + kFreshFor;
  }
  for (auto& client : clients_) {
    if (client->socket && client->waits) respond(*client, answer);
  }
}

void MetricsServer::respond(Client& client, int status) {
  client.waits = false;
  client.output = metrics_response(status, body_, client.request.is_head());
  flush(client);
}

void MetricsServer::flush(Client& client) {
  while (!client.output.empty()) {
    const ssize_t n = ::send(client.socket.get(), client.output.data(), client.output.size(),
                             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      if (!reactor_.modify(client.socket.get(), EPOLLOUT, client.handler)) drop(client);
      return;
    }
    if (n < 0) return drop(client);
    client.output.erase(0, static_cast<std::size_t>(n));
  }
  // What the client sent beyond its head must not turn the close into a reset that takes the
  // answer.
  ::shutdown(client.socket.get(), SHUT_WR);
  char rest[4096];
  while (::recv(client.socket.get(), rest, sizeof rest, MSG_DONTWAIT) > 0) {
  }
  drop(client);
}

void MetricsServer::drop(Client& client) {
  if (!client.socket) return;
  reactor_.remove(client.socket.get(), client.handler);
  client.socket.reset();
  client.waits = false;
  client.deadline.cancel();
  bury_timer_.arm(reactor_.timers(), reactor_.now());
}

}  // namespace

int run_metrics_server(UniqueFd listener, UniqueFd channel) noexcept {
  auto reactor = event::Reactor::open();
  if (!reactor) return 1;
  MetricsServer server(std::move(*reactor), std::move(listener), std::move(channel));
  return server.run();
}

}  // namespace proxyvpn::app
