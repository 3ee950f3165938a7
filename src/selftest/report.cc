#include "selftest/report.h"

#include <array>
#include <string_view>
#include <vector>

namespace proxyvpn::selftest {
namespace {

void list(std::string& out, std::string_view title, const std::vector<std::string>& lines) {
  out += title;
  out += "\n";
  for (const auto& one : lines) out += "  " + one + "\n";
  if (lines.empty()) out += "  (none)\n";
}

struct ExitLine {
  int code;
  const char* text;
};
constexpr std::array<ExitLine, 10> kExitLines = {{
    {kExitOk, "the name server answered NOERROR"},
    {kExitUsage, "wrong usage"},
    {kExitNoServer, "no name server is known"},
    {kExitSend, "the question could not be sent, or was refused"},
    {kExitWait, "no DNS answer in time"},
    {kExitReachProxy, "the proxy cannot be reached or does not answer as an HTTP proxy"},
    {kExitProxyRefused, "the proxy refused the tunnel or the credentials"},
    {kExitAnswer, "what came is not a DNS answer to the question"},
    {kExitRcode, "the name server answered with an error (NXDOMAIN, SERVFAIL, ...)"},
    {kExitNetlink, "rules and routes could not be read (and nothing else failed)"},
}};

}  // namespace

int exit_code(probe::Step step) noexcept {
  switch (step) {
    case probe::Step::Send:
      return kExitSend;
    case probe::Step::Wait:
      return kExitWait;
    case probe::Step::ReachProxy:
      return kExitReachProxy;
    case probe::Step::ProxyRefused:
      return kExitProxyRefused;
    case probe::Step::Answer:
      return kExitAnswer;
    case probe::Step::Rcode:
      return kExitRcode;
  }
  return kExitAnswer;
}

std::string exit_code_help() {
  std::string out = "Exit code:\n";
  for (const auto& one : kExitLines) {
    const auto code = std::to_string(one.code);
    out += std::string(4 - code.size(), ' ') + code + "  " + one.text + "\n";
  }
  return out;
}

std::string to_text(const netlink::Snapshot& snapshot) {
  std::string out;
  list(out, "ip rule", snapshot.rules);
  list(out, "ip -6 rule", snapshot.rules_v6);
  list(out, "ip route show table all (without local, main, default)", snapshot.routes);
  return out;
}

}  // namespace proxyvpn::selftest
