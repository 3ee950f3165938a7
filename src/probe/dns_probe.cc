#include "probe/dns_probe.h"

#include <poll.h>

#include <array>
#include <utility>

#include "probe/bounded_io.h"
#include "probe/proxy_tunnel.h"

namespace proxyvpn::probe {
namespace {

constexpr std::size_t kMaxUdpBytes = 4096;  // without EDNS an answer has at most 512

// What an errno of a packet that was to leave means on a machine with a killswitch.
Error with_hint(Error error) {
  if (error.sys_errno == EPERM || error.sys_errno == EACCES) {
    error.message +=
        " (a firewall on this machine refused the packet: with the killswitch up only the allowed "
        "resolvers may be asked, see proxyvpn up --allow-dns)";
  } else if (error.sys_errno == EHOSTUNREACH || error.sys_errno == ENETUNREACH) {
    error.message +=
        " (no route, a firewall, or, through a running tunnel, a proxy that is lost or does not "
        "allow this port)";
  } else if (error.sys_errno == ECONNREFUSED) {
    error.message += " (nothing answers DNS there, or a firewall refused the packet)";
  }
  return error;
}

class Probe {
 public:
  Probe(const ProbeOptions& options, dns::Query query)
      : options_(options), query_(std::move(query)), deadline_(Deadline::in(options.timeout)) {
    report_.question =
        query_.name + ". IN " + dns::type_name(static_cast<std::uint16_t>(options.type));
    report_.server = options.server;
  }

  ProbeReport run() {
    const auto start = Clock::now();
    const auto address = to_sockaddr(options_.server);
    if (!address) {
      failed(Step::Send, address.error());
    } else if (options_.proxy) {
      ask_through_proxy();
    } else if (options_.tcp) {
      ask_tcp(*address);
    } else {
      ask_udp(*address);
      if (!report_.failure && report_.answer && report_.answer->truncated) {
        report_.notes.emplace_back("the answer over UDP was truncated, asked again over TCP");
        ask_tcp(*address);
      }
    }
    if (!report_.failure && report_.answer && report_.answer->rcode != 0) {
      failed(Step::Rcode, {Code::Protocol, 0,
                           to_string(options_.server) + " answered " +
                               dns::rcode_name(report_.answer->rcode) + " to " + report_.question});
    }
    report_.times.total = since(start);
    return std::move(report_);
  }

 private:
  void failed(Step step, Error error) { report_.failure = Failure{step, std::move(error)}; }

  // A socket call towards the server that failed: too late, or not at all.
  void failed_io(Error error) {
    const bool late = error.code == Code::Timeout;
    failed(late ? Step::Wait : Step::Send, late ? std::move(error) : with_hint(std::move(error)));
  }

  // True when the message is the answer; else why it is not.
  Result<> take(std::span<const std::uint8_t> message) {
    auto answer = dns::parse_answer(message, query_);
    if (!answer) return tl::unexpected(answer.error());
    report_.answer = std::move(*answer);
    return {};
  }

  void ask_udp(const SocketAddress& address) {
    const auto name = to_string(options_.server);
    const auto doing = "asking " + name + " over UDP";
    const auto fd = connect_udp(address, name);
    if (!fd) return failed_io(fd.error());
    const auto start = Clock::now();
    const auto first = deadline_.at_most(options_.resend_after.value_or(options_.timeout / 2));
    if (send_and_receive(fd->get(), doing, first)) return answered(start);
    if (!report_.failure && !deadline_.passed()) {
      report_.notes.emplace_back("no answer at first, asked a second time");
      if (send_and_receive(fd->get(), doing, deadline_)) return answered(start);
    }
    if (report_.failure) return;
    if (unusable_) return failed(Step::Answer, *unusable_);
    failed(Step::Wait,
           {Code::Timeout, ETIMEDOUT,
            doing + ": no answer within " + std::to_string(options_.timeout.count()) + " ms"});
  }

  void answered(TimePoint start) { report_.times.dns = since(start); }

  // True once the answer is there. False at `until`, or with the failure in the report.
  bool send_and_receive(int fd, const std::string& doing, const Deadline& until) {
    if (auto sent = send_all(fd, query_.bytes, deadline_, doing); !sent) {
      failed_io(sent.error());
      return false;
    }
    std::array<std::uint8_t, kMaxUdpBytes> buffer{};
    do {
      const auto got = receive(fd, buffer, until, doing);
      if (!got) {
        if (got.error().code != Code::Timeout) failed_io(got.error());
        return false;
      }
      const auto taken = take(std::span(buffer).first(*got));
      if (taken) return true;
      // Anybody can send a datagram with a wrong id: the true answer may still come.
      unusable_ = taken.error();
    } while (!until.passed());
    return false;
  }

  void ask_tcp(const SocketAddress& address) {
    report_.transport = Transport::Tcp;
    report_.answer.reset();
    const auto start = Clock::now();
    const auto fd = connect_tcp(address, to_string(options_.server), std::nullopt, deadline_);
    if (!fd) return failed_io(fd.error());
    report_.times.connect = since(start);
    ask_stream(*fd, {});
  }

  void ask_through_proxy() {
    report_.transport = Transport::TcpThroughProxy;
    auto tunnel = open_proxy_tunnel(*options_.proxy, connect::to_target(options_.server.endpoint),
                                    options_.socket_mark, deadline_);
    report_.times = tunnel.times;
    report_.proxy = tunnel.proxy;
    report_.proxy_status = tunnel.status;
    if (tunnel.failure) {
      report_.failure = std::move(tunnel.failure);
      return;
    }
    ask_stream(tunnel.fd, tunnel.early_data);
  }

  void ask_stream(const UniqueFd& fd, std::span<const std::uint8_t> early) {
    const auto doing = "asking " + to_string(options_.server) +
                       (options_.proxy ? " through the proxy" : " over TCP");
    const auto start = Clock::now();
    if (auto sent = send_all(fd.get(), dns::with_length_prefix(query_.bytes), deadline_, doing);
        !sent) {
      return failed_io(sent.error());
    }
    dns::TcpMessageReader reader;
    std::array<std::uint8_t, 4096> buffer{};
    bool whole = reader.feed(early);
    while (!whole) {
      const auto got = receive(fd.get(), buffer, deadline_, doing);
      if (!got && got.error().code == Code::Timeout) return failed(Step::Wait, got.error());
      if (!got) return failed(Step::Answer, got.error());
      if (*got == 0) {
        return failed(Step::Answer, {Code::Protocol, 0,
                                     doing + ": the connection was closed after " +
                                         std::to_string(reader.received()) +
                                         " bytes, before the answer was whole"});
      }
      whole = reader.feed(std::span(buffer).first(*got));
    }
    if (auto taken = take(reader.message()); !taken) return failed(Step::Answer, taken.error());
    report_.times.dns = since(start);
  }

  const ProbeOptions& options_;
  dns::Query query_;
  Deadline deadline_;
  std::optional<Error> unusable_;  // why the last datagram was no answer
  ProbeReport report_;
};

}  // namespace

Result<ProbeReport> run_probe(const ProbeOptions& options) {
  auto query = dns::build_query(options.name, options.type);
  if (!query) return tl::unexpected(query.error());
  return Probe(options, std::move(*query)).run();
}

}  // namespace proxyvpn::probe
