// The questions of doctor_proxy.h, asked.
#include <algorithm>
#include <ctime>
#include <thread>

#include "app/capabilities.h"
#include "app/doctor_proxy.h"
#include "probe/bounded_io.h"
#include "probe/proxy_tunnel.h"
#include "probe/refusal_probe.h"

namespace proxyvpn::app {
namespace {

using probe::Deadline;
using probe::Microseconds;
using Tasks = std::vector<std::function<void()>>;

// A mark takes the capability, which belongs to the thread.
template <class Call>
auto with_mark(const ProxyQuestions& questions, Call&& call) {
  if (!questions.mark) return call();
  return with_net_admin(std::forward<Call>(call));
}

void look_up(const ProxyQuestions& questions, ProxyAnswers& answers) {
  auto addresses = questions.addresses;
  if (addresses.empty()) {
    auto found = probe::resolve_host(questions.proxy->host, Deadline::in(questions.timeout));
    if (!found) {
      answers.lookup_error = found.error();
      return;
    }
    addresses = std::move(*found);
  }
  for (const auto& address : addresses) {
    answers.addresses.push_back({address, questions.proxy->port});
  }
}

Reached reach(const ProxyQuestions& questions, const Endpoint& endpoint) {
  Reached result;
  result.endpoint = endpoint;
  const auto start = Clock::now();
  const auto fd = with_mark(questions, [&] {
    return probe::connect_tcp(to_sockaddr(endpoint), "the proxy " + to_string(endpoint),
                              questions.mark, Deadline::in(questions.timeout));
  });
  result.time = std::chrono::duration_cast<Microseconds>(Clock::now() - start);
  if (!fd) result.error = fd.error();
  return result;
}

// The target, or where that is an address the name that is the default.
probe::ProbeReport ask_resolver(const ProxyQuestions& questions, const probe::Server& server,
                                dns::RecordType type) {
  probe::ProbeOptions options;
  options.name = IpAddress::parse(questions.target) ? kDefaultTarget : questions.target;
  options.type = type;
  options.server = server;
  options.timeout = questions.timeout;
  options.resend_after = questions.timeout / 3;
  auto report = probe::run_probe(options);
  if (report) return std::move(*report);
  probe::ProbeReport failed;
  failed.server = server;
  failed.failure = probe::Failure{probe::Step::Send, report.error()};
  return failed;
}

// Everything that needs no other answer.
void ask_first(const ProxyQuestions& questions, ProxyAnswers& answers,
               std::vector<probe::ProbeReport>& six) {
  answers.reached.resize(answers.addresses.size());
  answers.resolvers.resize(questions.resolvers.size());
  six.resize(answers.resolvers.size());
  Tasks tasks;
  for (std::size_t i = 0; i < answers.addresses.size(); ++i) {
    tasks.push_back([&, i] { answers.reached[i] = reach(questions, answers.addresses[i]); });
  }
  for (std::size_t i = 0; i < answers.resolvers.size(); ++i) {
    const auto& server = questions.resolvers[i];
    tasks.push_back(
        [&, i] { answers.resolvers[i] = ask_resolver(questions, server, dns::RecordType::A); });
    tasks.push_back([&, i] { six[i] = ask_resolver(questions, server, dns::RecordType::Aaaa); });
  }
  run_all(tasks);
}

void take_first_address(const std::vector<probe::ProbeReport>& reports,
                        std::vector<IpAddress>& target) {
  for (const auto& report : reports) {
    if (!report.answer || report.answer->addresses.empty()) continue;
    target.push_back(report.answer->addresses.front());
    return;
  }
}

void connect_through(const ProxyQuestions& questions, const Endpoint& proxy,
                     const connect::Target& target, Attempt& attempt) {
  auto url = *questions.proxy;
  url.host = to_string(proxy.address);
  const auto deadline = Deadline::in(questions.timeout);
  attempt.authority = connect::authority(target);
  attempt.port = target.port;
  auto tunnel = with_mark(
      questions, [&] { return probe::open_proxy_tunnel(url, target, questions.mark, deadline); });
  attempt.status = tunnel.status;
  attempt.time = tunnel.times.handshake.value_or(Microseconds{});
  attempt.failure = std::move(tunnel.failure);
  if (attempt.failure || target.port != 80) return;
  if (const auto date = probe::ask_date(tunnel.fd.get(), questions.target, deadline)) {
    attempt.clock_ahead = std::time(nullptr) - *date;
  }
}

// Addresses, as the tunnel itself asks for; and the name, to tell a proxy that forbids one from one
// that forbids all.
void plan_attempts(const ProxyQuestions& questions, bool target_is_name, ProxyAnswers& answers,
                   std::vector<connect::Target>& targets) {
  const auto add = [&](Attempt::What what, std::string host, std::uint16_t port) {
    Attempt attempt;
    attempt.what = what;
    answers.attempts.push_back(std::move(attempt));
    targets.push_back({std::move(host), port});
  };
  const auto of = [&](bool six) {
    return std::find_if(answers.target.begin(), answers.target.end(),
                        [six](const IpAddress& a) { return a.is_v6() == six; });
  };
  const auto four = of(false);
  const auto six = of(true);
  const auto main = four != answers.target.end() ? four : six;
  for (const auto port : kTargetPorts) {
    if (main != answers.target.end()) {
      add(Attempt::What::Address, to_string(*main), port);
    } else {
      add(Attempt::What::Name, questions.target, port);
    }
  }
  if (main == four && six != answers.target.end()) {
    add(Attempt::What::Address6, to_string(*six), 443);
  }
  if (main != answers.target.end() && target_is_name) {
    add(Attempt::What::Name, questions.target, 443);
  }
}

void ask_tunnels(const ProxyQuestions& questions, bool target_is_name, ProxyAnswers& answers) {
  const auto proxy = std::find_if(answers.reached.begin(), answers.reached.end(),
                                  [](const Reached& r) { return !r.error; });
  if (proxy == answers.reached.end()) return;
  std::vector<connect::Target> targets;
  plan_attempts(questions, target_is_name, answers, targets);
  Tasks tasks;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    tasks.push_back(
        [&, i] { connect_through(questions, proxy->endpoint, targets[i], answers.attempts[i]); });
  }
  run_all(tasks);
}

}  // namespace

void run_all(const std::vector<std::function<void()>>& tasks) {
  std::vector<std::thread> threads;
  threads.reserve(tasks.size());
  for (const auto& task : tasks) threads.emplace_back(task);
  for (auto& thread : threads) thread.join();
}

ProxyAnswers ask_proxy_and_resolvers(const ProxyQuestions& questions) {
  ProxyAnswers answers;
  const bool ask_proxy = questions.proxy && questions.cannot_ask.empty();
  if (ask_proxy) look_up(questions, answers);
  const auto literal = IpAddress::parse(questions.target);
  std::vector<probe::ProbeReport> six;
  ask_first(questions, answers, six);
  if (literal) {
    answers.target.push_back(*literal);
  } else {
    take_first_address(answers.resolvers, answers.target);
    take_first_address(six, answers.target);
  }
  if (ask_proxy) ask_tunnels(questions, !literal, answers);
  return answers;
}

}  // namespace proxyvpn::app
