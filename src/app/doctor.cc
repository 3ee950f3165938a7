#include "app/doctor.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "app/capabilities.h"
#include "app/doctor_daemon.h"
#include "app/doctor_facts.h"
#include "app/doctor_host.h"
#include "app/doctor_proxy.h"
#include "app/doctor_report.h"
#include "app/doctor_running.h"
#include "app/plan.h"
#include "app/preflight.h"
#include "probe/bounded_io.h"

namespace proxyvpn::app {
namespace {

// A refusal comes at once; what takes longer left the machine.
constexpr milliseconds kRefusalTime{1000};
constexpr std::size_t kMostColumns = 120;

// ---- what is asked ------------------------------------------------------------------------------

bool is_same_proxy(const connect::ProxyUrl& given, const std::string& running) {
  const auto url = connect::parse_proxy_url(running);
  return url && url->host == given.host && url->port == given.port;
}

// While the tunnel is up, a connection of ours to the proxy is an application's: it would go into
// the tunnel and come out of the proxy as a connection to itself. Only marked by the daemon's own
// user does it go direct, and only to the daemon's proxy.
void choose_way(const DoctorOptions& options, const DoctorFacts& facts, const FoundDaemon& daemon,
                ProxyQuestions& questions) {
  const auto rules = find_our_rules(facts.host.network);
  const bool same_user = daemon.uid && *daemon.uid == facts.host.capability.euid;
  if (!daemon.up && daemon.shut) {
    questions.cannot_ask = "not asked: this machine is shut, see `daemon`";
  } else if (!daemon.up) {
    return;
  } else if (options.proxy_given && !daemon.proxy_url.empty() &&
             !is_same_proxy(options.config.proxy, daemon.proxy_url)) {
    questions.cannot_ask = "not asked: while proxyvpn is up only its own proxy can be reached (" +
                           daemon.proxy_url + ")";
  } else if (!facts.host.capability.permitted || !same_user || !rules.bypass) {
    questions.cannot_ask =
        "not asked: while proxyvpn is up a connection to the proxy would go through the tunnel; "
        "the user that runs proxyvpn may (see tunnel-443 for what programs get)";
  } else {
    questions.mark = rules.bypass;
  }
}

std::vector<probe::Server> servers_to_ask(const DoctorOptions& options, const DoctorFacts& facts,
                                          const FoundDaemon& daemon) {
  auto addresses =
      daemon.resolvers.empty() ? allowed_resolvers(options.config, facts.host) : daemon.resolvers;
  std::vector<probe::Server> servers;
  servers.reserve(addresses.size() + 1);
  for (const auto& address : addresses) servers.push_back({{address, dns::kPort}, {}});
  // What programs ask, when that is a stub on this machine.
  const auto own = probe::default_server(dns::ResolverPaths{}, false);
  if (own && dns::is_local_stub(own->endpoint.address)) servers.push_back(*own);
  return servers;
}

ProxyQuestions make_questions(DoctorOptions& options, const DoctorFacts& facts,
                              const FoundDaemon& daemon) {
  ProxyQuestions questions;
  questions.target = options.target;
  questions.timeout = options.timeout;
  questions.resolvers = servers_to_ask(options, facts, daemon);
  choose_way(options, facts, daemon, questions);
  if (options.proxy_given) {
    questions.proxy = std::move(options.config.proxy);
    questions.source = options.proxy_source;
    questions.addresses = daemon.up ? daemon.proxies : options.config.proxy_ips;
  } else if (auto url = connect::parse_proxy_url(daemon.proxy_url)) {
    questions.proxy = std::move(*url);
    // --username and --password-file alone: for the proxy in use.
    auto& given = options.config.proxy.credentials;
    if (given) questions.proxy->credentials = std::move(given);
    questions.source = "the running daemon";
    questions.addresses = daemon.proxies;
  }
  questions.password_known = !daemon.up || (questions.proxy && questions.proxy->credentials &&
                                            !questions.proxy->credentials->password.empty());
  // A name without its password would be a failed login in the proxy's log.
  if (!questions.password_known && questions.proxy) questions.proxy->credentials.reset();
  return questions;
}

// ---- probes while it is up ----------------------------------------------------------------------

TunnelProbe connect_as_a_program(const Endpoint& to, milliseconds timeout) {
  TunnelProbe probe;
  probe.target = to_string(to);
  probe.port = to.port;
  const auto start = Clock::now();
  const auto fd =
      probe::connect_tcp(to_sockaddr(to), probe.target, std::nullopt, probe::Deadline::in(timeout));
  probe.microseconds =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();
  if (!fd) probe.error = fd.error();
  return probe;
}

// Addresses for documentation (RFC 5737, RFC 3849): nobody gets what a broken killswitch lets out.
std::vector<std::pair<RefusalProbe, Endpoint>> refusals(const netlink::Snapshot& network) {
  std::vector<std::pair<RefusalProbe, Endpoint>> list;
  const auto add = [&](const char* name, const char* address, std::uint16_t port) {
    const auto parsed = IpAddress::parse(address);
    if (!parsed) return;
    const Endpoint to{*parsed, port};
    list.push_back({{name, to_string(to) + " (UDP)", {}}, to});
  };
  // Without a route everything is refused, which would show nothing.
  if (network.has_default_route_v4) {
    add("refused-udp", "192.0.2.1", 9);
    add("refused-dns", "192.0.2.1", dns::kPort);
  }
  if (network.has_default_route_v6) add("refused-udp6", "2001:db8::1", 9);
  return list;
}

void probe_tunnel(const DoctorOptions& options, const ProxyAnswers& answers, RunningFacts& facts) {
  std::vector<Endpoint> targets;
  if (!answers.target.empty()) {
    for (const auto port : kTargetPorts) {
      targets.push_back({answers.target.front(), port});
    }
  }
  auto refused = refusals(facts.network);
  facts.tunnel.resize(targets.size());
  std::vector<std::function<void()>> tasks;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    tasks.push_back(
        [&, i] { facts.tunnel[i] = connect_as_a_program(targets[i], options.timeout); });
  }
  for (auto& [probe, to] : refused) {
    tasks.push_back([&probe = probe, &to = to] {
      probe.report = probe::probe_refusal(to, probe::Deadline::in(kRefusalTime));
    });
  }
  run_all(tasks);
  for (auto& [probe, to] : refused) facts.refused.push_back(std::move(probe));
}

RunningFacts look_at_running(const DoctorOptions& options, const DoctorFacts& facts,
                             const FoundDaemon& daemon, const ProxyAnswers& answers) {
  RunningFacts running;
  running.up = daemon.up;
  running.shut = daemon.shut;
  running.locked = daemon.locked;
  running.daemon = daemon.facts;
  running.network = facts.host.network;
  running.tun_name = daemon.tun_name.empty() ? options.config.tun_name : daemon.tun_name;
  if (!facts.host.capability.permitted) {
    running.table_problem = "it takes CAP_NET_ADMIN";
  } else {
    const RaisedCapability raised(CAP_NET_ADMIN);
    auto table = firewall::read_table_state(firewall::Policy{}.table);
    if (table) {
      running.table = *table;
    } else {
      running.table_problem = table.error().message;
    }
  }
  if (!running.up) return running;
  const bool counts = daemon.facts.found;  // one that is stuck is waited for only once
  const auto before = counts ? count_daemon(options.config) : DaemonCounts{};
  probe_tunnel(options, answers, running);
  if (!counts) return running;
  const auto after = count_daemon(options.config);
  // A proxy that is gone is noticed by the first who want it: the state is that of afterwards.
  auto again = find_daemon(options.config);
  if (again.facts.found) running.daemon = std::move(again.facts);
  if (before.flows && after.flows) running.counted_flows = *after.flows - *before.flows;
  if (before.refused && after.refused) running.counted_refused = *after.refused - *before.refused;
  return running;
}

// ---- the whole ----------------------------------------------------------------------------------

std::size_t terminal_width() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return std::min<std::size_t>(size.ws_col, kMostColumns);
}

bool wants_colour() {
  const char* no = std::getenv("NO_COLOR");  // no-color.org: any value but an empty one
  const char* term = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) != 0 && (no == nullptr || *no == '\0') && term != nullptr &&
         std::string_view(term) != "dumb";
}

Checks judge_proxies(const DoctorOptions& options, const DoctorFacts& facts,
                     const ProxyQuestions& questions, const ProxyAnswers& answers) {
  Checks checks = judge_proxy(questions, answers);
  if (!answers.addresses.empty()) {
    Config config;
    config.proxy.host = questions.proxy->host;
    config.tun_cidr = options.config.tun_cidr;
    config.tun_cidr6 = options.config.tun_cidr6;
    config.exempt_users = options.config.exempt_users;
    check_proxies(config, facts.host, answers.addresses, checks);
  }
  return checks;
}

}  // namespace

int run_doctor(DoctorOptions& options) {
  // First, as it forks: threads come later.
  auto trials = try_kernel();
  DoctorFacts facts = read_doctor_facts(options.config);
  facts.kernel = std::move(trials);
  const auto daemon = find_daemon(options.config);
  const auto questions = make_questions(options, facts, daemon);
  const auto answers = ask_proxy_and_resolvers(questions);
  const auto running = look_at_running(options, facts, daemon, answers);
  const std::vector<CheckGroup> groups = {
      {"host", check_host(options.config, facts, daemon.up)},
      {"resolvers", judge_resolvers(answers)},
      {"proxy", judge_proxies(options, facts, questions, answers)},
      {"running", check_running(running)},
  };
  const std::string text =
      options.json ? doctor_json(groups) : doctor_text(groups, {wants_colour(), terminal_width()});
  std::fputs(text.c_str(), stdout);
  return doctor_exit_code(groups);
}

}  // namespace proxyvpn::app
