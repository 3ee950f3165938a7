// What follows from the answers of the proxy and the resolvers.
#include "app/doctor_proxy.h"

#include <algorithm>
#include <cstdlib>

#include "probe/report.h"

namespace proxyvpn::app {
namespace {

using probe::Step;

constexpr std::int64_t kClockOff = 300;           // seconds: worth a word
constexpr std::int64_t kClockFarOff = 24 * 3600;  // certificates fail

bool wants_credentials(int status) { return status == 407 || status == 401; }

bool was_answered(const Attempt& attempt) { return attempt.status != 0; }

// What a person calls the connections of a port.
const char* what_for(std::uint16_t port) {
  if (port == 443) return "https";
  return port == 80 ? "http" : "ssh";
}

void skip_all(Checks& checks, const std::string& why) {
  for (const char* name : {"proxy-reachable", "proxy-http", "proxy-credentials", "connect-443",
                           "connect-80", "connect-22"}) {
    checks.skip(name, why);
  }
}

bool check_lookup(const ProxyQuestions& questions, const ProxyAnswers& answers, Checks& checks) {
  if (answers.lookup_error) {
    checks.fail("proxy-name", answers.lookup_error->message,
                "check the name; --proxy-ip needs no lookup");
    return false;
  }
  std::string all;
  for (const auto& one : answers.addresses) all += (all.empty() ? "" : ", ") + to_string(one);
  const bool looked_up = questions.addresses.empty() && !IpAddress::parse(questions.proxy->host);
  checks.ok("proxy-name",
            (looked_up ? questions.proxy->host + " is " : "") + all + ", from " + questions.source);
  return true;
}

// False: nothing more can be asked.
bool check_reachable(const ProxyAnswers& answers, Checks& checks) {
  std::string good;
  std::string bad;
  for (const auto& one : answers.reached) {
    if (one.error) {
      bad += (bad.empty() ? "" : "; ") + one.error->message;
    } else {
      good += (good.empty() ? "" : ", ") + to_string(one.endpoint) + " in " +
              probe::to_string(one.time);
    }
  }
  const std::string name = "proxy-reachable";
  if (good.empty()) {
    checks.fail(name, bad,
                "is it running, is the port right, and does a firewall let this machine in?");
    return false;
  }
  if (bad.empty()) {
    checks.ok(name, good);
  } else {
    checks.warn(
        name, good + "; but " + bad,
        "the others are tried first or later, at the cost of a wait; leave the dead one out "
        "with --proxy-ip");
  }
  return true;
}

bool check_http(const ProxyAnswers& answers, Checks& checks) {
  const auto& attempts = answers.attempts;
  const auto answered = std::find_if(attempts.begin(), attempts.end(), was_answered);
  if (answered != attempts.end()) {
    checks.ok("proxy-http", "it speaks HTTP (status " + std::to_string(answered->status) +
                                " to CONNECT " + answered->authority + ")");
    return true;
  }
  const Error error = attempts.empty() || !attempts.front().failure
                          ? Error{Code::Protocol, 0, "it was not asked"}
                          : attempts.front().failure->error;
  const bool silent = error.code == Code::Timeout;
  checks.fail("proxy-http", error.message,
              silent ? "it takes connections and does not answer: look at the proxy's own log; "
                       "its own name look-ups may be slow"
                     : "is this the port of an HTTP proxy? (https, SOCKS and ssh are others)");
  return false;
}

// False: the answers say nothing about ports.
bool check_credentials(const ProxyQuestions& questions, const ProxyAnswers& answers,
                       Checks& checks) {
  const auto& attempts = answers.attempts;
  const auto refused = std::find_if(attempts.begin(), attempts.end(),
                                    [](const Attempt& a) { return wants_credentials(a.status); });
  const std::string name = "proxy-credentials";
  if (refused == attempts.end()) {
    checks.ok(name, questions.proxy->credentials
                        ? "those of '" + questions.proxy->credentials->username + "' are accepted"
                        : "none are wanted");
    return true;
  }
  if (!questions.password_known) {
    checks.skip(name, "the proxy wants a password, which only the running daemon has",
                "give it to doctor as well: --proxy-url, --password-file");
  } else {
    checks.fail(name, refused->failure ? refused->failure->error.message : "status 407",
                questions.proxy->credentials ? "check user name and password"
                                             : "give --username and --password-file");
  }
  return false;
}

bool forbids(int status) {
  return status >= 300 && status < 500 && status != 404 && status != 408 && status != 410;
}

void judge_attempt(const Attempt& attempt, Checks& checks) {
  const bool six = attempt.what == Attempt::What::Address6;
  const std::string port = std::to_string(attempt.port);
  const std::string name = six ? "connect-ipv6" : "connect-" + port;
  if (!attempt.failure) {
    checks.ok(name, attempt.authority + " in " + probe::to_string(attempt.time));
    return;
  }
  // Without https next to nothing works; without the others something does.
  const auto state = attempt.port == 443 && !six ? CheckState::Fail : CheckState::Warn;
  const std::string& words = attempt.failure->error.message;
  if (forbids(attempt.status)) {
    checks.add({name, state,
                "the proxy forbids CONNECT to " + (six ? "IPv6 addresses" : "port " + port) + " (" +
                    std::to_string(attempt.status) + "): " +
                    (six ? "programs fall back to IPv4"
                         : std::string(what_for(attempt.port)) + " will not work"),
                six ? "--tun-cidr6 none refuses IPv6 at once"
                    : "ask its administrator to allow it (squid: SSL_ports and Safe_ports)"});
  } else if (attempt.status != 0) {
    checks.add({name, state, "the proxy allows it, but could not reach the target: " + words,
                "is the target up? Name another with --target"});
  } else {
    checks.add({name, state, words, "look at the proxy's log, or give more time (--timeout)"});
  }
}

// A proxy that takes names and no addresses is of no use to a tunnel that has only addresses.
void check_names_only(const ProxyAnswers& answers, Checks& checks) {
  const auto of = [&](Attempt::What what) {
    return std::find_if(answers.attempts.begin(), answers.attempts.end(),
                        [&](const Attempt& a) { return a.what == what && a.port == 443; });
  };
  const auto address = of(Attempt::What::Address);
  const auto name = of(Attempt::What::Name);
  if (address == answers.attempts.end() || name == answers.attempts.end()) return;
  if (!address->failure || name->failure || !forbids(address->status)) return;
  checks.fail("connect-addresses",
              "the proxy allows " + name->authority + " and forbids " + address->authority +
                  ": it wants names, and a connection has only an address",
              "ask its administrator to allow CONNECT to addresses");
}

void check_clock(const ProxyAnswers& answers, Checks& checks) {
  for (const auto& attempt : answers.attempts) {
    if (!attempt.clock_ahead) continue;
    const std::int64_t off = std::abs(*attempt.clock_ahead);
    const std::string words = "this machine's clock and " + attempt.authority + "'s differ by " +
                              std::to_string(off) + " s";
    const std::string advice = "set the clock: certificates and Digest depend on it";
    if (off > kClockFarOff) {
      checks.fail("clock-compared", words, advice);
    } else if (off > kClockOff) {
      checks.warn("clock-compared", words, advice);
    } else {
      checks.ok("clock-compared", words);
    }
    return;
  }
}

}  // namespace

Checks judge_proxy(const ProxyQuestions& questions, const ProxyAnswers& answers) {
  Checks checks;
  if (!questions.proxy) {
    checks.skip("proxy-name", "no proxy is given and none is in use",
                "give the options of `proxyvpn up`, such as --proxy-url http://host:port");
    return checks;
  }
  if (!questions.cannot_ask.empty()) {
    checks.ok("proxy-name", connect::redacted(*questions.proxy) + ", from " + questions.source);
    skip_all(checks, questions.cannot_ask);
    return checks;
  }
  if (!check_lookup(questions, answers, checks) || !check_reachable(answers, checks) ||
      !check_http(answers, checks) || !check_credentials(questions, answers, checks)) {
    return checks;
  }
  for (const auto& attempt : answers.attempts) {
    const bool extra = attempt.what == Attempt::What::Name && !answers.target.empty();
    if (!extra) judge_attempt(attempt, checks);
  }
  check_names_only(answers, checks);
  check_clock(answers, checks);
  return checks;
}

Checks judge_resolvers(const ProxyAnswers& answers) {
  Checks checks;
  if (answers.resolvers.empty()) {
    checks.skip("resolver", "no resolver is known to be asked");
    return checks;
  }
  const bool any = std::any_of(answers.resolvers.begin(), answers.resolvers.end(),
                               [](const auto& report) { return !report.failure; });
  for (const auto& report : answers.resolvers) {
    const std::string server = probe::to_string(report.server);
    if (!report.failure) {
      checks.ok("resolver", server + " answers" +
                                (report.times.dns ? " in " + probe::to_string(*report.times.dns)
                                                  : std::string()));
      continue;
    }
    checks.add({"resolver", any ? CheckState::Warn : CheckState::Fail,
                report.failure->error.message,
                any ? "another one answers; take this one out, or name resolvers with --dns"
                    : "no name can be looked up: name another resolver with --allow-dns, and in "
                      "/etc/resolv.conf"});
  }
  return checks;
}

}  // namespace proxyvpn::app
