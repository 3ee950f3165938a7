#include "probe/proxy_tunnel.h"

#include <sys/random.h>

#include <array>
#include <utility>

#include "base/hex.h"
#include "connect/http_connect.h"

namespace proxyvpn::probe {
namespace {

Failure reach_failure(Error error) { return {Step::ReachProxy, std::move(error)}; }

std::string random_hex() {
  std::array<std::uint8_t, 16> raw{};
  // 16 bytes are never given in part (getrandom(2)); before the pool is ready it waits.
  while (::getrandom(raw.data(), raw.size(), 0) < 0 && errno == EINTR) {
  }
  return hex(raw);
}

class TunnelMaker {
 public:
  TunnelMaker(const connect::ProxyUrl& proxy, const connect::Target& target,
              std::optional<std::uint32_t> mark, const Deadline& deadline)
      : proxy_(proxy), target_(target), mark_(mark), deadline_(deadline) {}

  ProxyTunnel run() {
    if (auto connected = find_proxy(); !connected) {
      out_.failure = reach_failure(std::move(connected.error()));
      return std::move(out_);
    }
    const auto start = Clock::now();
    if (auto failure = handshake()) {
      out_.failure = std::move(failure);
      out_.fd.reset();
    } else {
      out_.times.handshake = since(start);
    }
    return std::move(out_);
  }

 private:
  // Sets out_.proxy and out_.fd.
  Result<> find_proxy() {
    const auto start = Clock::now();
    const auto addresses = resolve_host(proxy_.host, deadline_);
    if (!addresses) return wrap(addresses.error(), "the proxy");
    if (!IpAddress::parse(proxy_.host)) out_.times.resolve = since(start);
    std::string tried;
    for (std::size_t i = 0; i < addresses->size(); ++i) {
      const auto start_of_one = Clock::now();
      const auto left = milliseconds(deadline_.poll_timeout());
      const auto share = left / static_cast<int>(addresses->size() - i);
      const Endpoint endpoint{(*addresses)[i], proxy_.port};
      auto fd = connect_proxy(endpoint, deadline_.at_most(share));
      if (fd) {
        out_.fd = std::move(*fd);
        out_.proxy = endpoint;
        out_.times.connect = since(start_of_one);
        return {};
      }
      if (i + 1 == addresses->size()) {
        if (tried.empty()) return tl::unexpected(fd.error());
        return tl::unexpected(
            Error{fd.error().code, fd.error().sys_errno, tried + "; " + fd.error().message});
      }
      tried += (tried.empty() ? "" : "; ") + fd.error().message;
    }
    return fail(Code::NotFound, "the proxy " + proxy_.host + " has no address");
  }

  Result<UniqueFd> connect_proxy(const Endpoint& endpoint, const Deadline& deadline) const {
    return connect_tcp(proxyvpn::to_sockaddr(endpoint), "the proxy " + to_string(endpoint), mark_,
                       deadline);
  }

  // Empty when the tunnel stands.
  std::optional<Failure> handshake() {
    const auto authenticator = connect::make_authenticator(proxy_.credentials, &random_hex);
    connect::HttpConnect codec(target_, *authenticator);
    for (;;) {
      auto reply = ask(codec);
      if (!reply) return reach_failure(std::move(reply.error()));
      if (reply->status != 0) out_.status = reply->status;
      switch (reply->outcome) {
        case connect::Outcome::Established:
          return std::nullopt;
        case connect::Outcome::Retry:
          if (!reply->reconnect) continue;
          if (auto fd = connect_proxy(*out_.proxy, deadline_)) {
            out_.fd = std::move(*fd);
            continue;
          } else {
            return reach_failure(std::move(fd.error()));
          }
        case connect::Outcome::Refused:
          return Failure{Step::ProxyRefused, refusal(*reply)};
        case connect::Outcome::Malformed:
        case connect::Outcome::NeedMore:
          return reach_failure({Code::Protocol, 0,
                                "the proxy " + to_string(*out_.proxy) +
                                    " gave no usable HTTP answer: " + std::string(reply->reason)});
      }
    }
  }

  Error refusal(const connect::Reply& reply) const {
    std::string text = "the proxy " + to_string(*out_.proxy) + " refused CONNECT " +
                       connect::authority(target_) + " with status " + std::to_string(reply.status);
    if (reply.status == 401 && proxy_.credentials) {
      // Not what RFC 9110 section 15.5.2 has it for, so the codec takes it for a web server's.
      return {Code::Permission, 0,
              text +
                  ": tinyproxy means a wrong user name or password by it (check the URL), or "
                  "this is a web server and no proxy"};
    }
    if (!reply.reason.empty()) text += ": " + std::string(reply.reason);
    if (reply.status == 407) {
      text += proxy_.credentials ? " (check user name and password in the URL)"
                                 : " (it wants a user name and a password: "
                                   "http://user:password@host:port)";
    } else if (reply.status == 403 || reply.status == 405) {
      text += " (many proxies allow CONNECT to port 443 only)";
    }
    return {Code::Permission, 0, std::move(text)};
  }

  // One request and everything up to the codec's decision.
  Result<connect::Reply> ask(connect::HttpConnect& codec) {
    const auto doing = "asking the proxy " + to_string(*out_.proxy) + " for a tunnel to " +
                       connect::authority(target_);
    auto request = codec.request();
    const std::span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(request.data()),
                                              request.size());
    auto sent = send_all(out_.fd.get(), bytes, deadline_, doing);
    wipe(request);
    if (!sent) return tl::unexpected(sent.error());
    std::array<std::uint8_t, 4096> buffer{};
    for (;;) {
      const auto got = receive(out_.fd.get(), buffer, deadline_, doing);
      if (!got) return tl::unexpected(got.error());
      if (*got == 0) return codec.end_of_stream();
      const auto reply = codec.feed(std::span(buffer).first(*got));
      if (reply.outcome == connect::Outcome::NeedMore) continue;
      if (reply.outcome == connect::Outcome::Established) {
        out_.early_data.assign(buffer.begin() + static_cast<std::ptrdiff_t>(reply.consumed),
                               buffer.begin() + static_cast<std::ptrdiff_t>(*got));
      }
      return reply;
    }
  }

  const connect::ProxyUrl& proxy_;
  const connect::Target& target_;
  std::optional<std::uint32_t> mark_;
  const Deadline& deadline_;
  ProxyTunnel out_;
};

}  // namespace

ProxyTunnel open_proxy_tunnel(const connect::ProxyUrl& proxy, const connect::Target& target,
                              std::optional<std::uint32_t> mark, const Deadline& deadline) {
  return TunnelMaker(proxy, target, mark, deadline).run();
}

}  // namespace proxyvpn::probe
