// proxyvpn-selftest: one DNS question, and the rules and routes of the machine.
#include <cstdio>
#include <exception>

#include "probe/report.h"
#include "selftest/options.h"
#include "selftest/report.h"

namespace proxyvpn::selftest {
namespace {

void print(std::FILE* to, const std::string& text) { std::fputs(text.c_str(), to); }

void complain(const Error& error) {
  std::fflush(stdout);  // in the order of what happened, where both are one terminal
  print(stderr, "proxyvpn-selftest: " + error.message + "\n");
}

int ask(Options& options) {
  if (!options.server_given) {
    const auto server =
        probe::default_server(dns::ResolverPaths{}, options.probe.proxy.has_value());
    if (!server) {
      complain(server.error());
      return kExitNoServer;
    }
    options.probe.server = *server;
  }
  const auto report = probe::run_probe(options.probe);
  if (!report) {
    complain(report.error());
    return kExitUsage;
  }
  print(stdout, probe::to_text(*report));
  if (!report->failure) return kExitOk;
  complain(report->failure->error);
  return exit_code(report->failure->step);
}

int show_routing() {
  auto routing = netlink::open_routing();
  const auto snapshot = routing ? (*routing)->snapshot() : tl::unexpected(routing.error());
  if (!snapshot) {
    complain(snapshot.error());
    return kExitNetlink;
  }
  print(stdout, "\n" + to_text(*snapshot));
  return kExitOk;
}

int run(int argc, char** argv) {
  auto parsed = parse_options(argc, argv);
  if (const auto* done = std::get_if<Done>(&parsed)) {
    print(stdout, done->out);
    print(stderr, done->err);
    return done->exit_code;
  }
  auto& options = std::get<Options>(parsed);
  const int dns = ask(options);
  const int routing = options.show_ip ? show_routing() : kExitOk;
  return dns != kExitOk ? dns : routing;
}

}  // namespace
}  // namespace proxyvpn::selftest

int main(int argc, char** argv) {
  try {
    return proxyvpn::selftest::run(argc, argv);
  } catch (const std::exception& error) {  // out of memory; nothing of ours throws
    std::fprintf(stderr, "proxyvpn-selftest: %s\n", error.what());
    return 1;
  }
}
