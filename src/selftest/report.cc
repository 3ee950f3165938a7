#include "selftest/report.h"

#include <array>
#include <cstdio>
#include <string_view>

namespace proxyvpn::selftest {
namespace {

constexpr std::string_view kIndent = "           ";

void line(std::string& out, std::string_view key, const std::string& value) {
  out += key;
  out.append(kIndent.size() - key.size(), ' ');
  out += value + "\n";
}

std::string over(const ProbeReport& report) {
  switch (report.transport) {
    case Transport::Udp:
      return " over UDP";
    case Transport::Tcp:
      return " over TCP";
    case Transport::TcpThroughProxy:
      return " over TCP through " + (report.proxy
                                         ? "the proxy " + proxyvpn::to_string(*report.proxy)
                                         : std::string("a proxy that was not reached"));
  }
  return {};
}

std::string summary(const dns::Answer& answer) {
  const auto count = answer.records.size();
  auto out = dns::rcode_name(answer.rcode) + ", " + std::to_string(count) +
             (count == 1 ? " record" : " records");
  if (answer.addresses.empty() && answer.rcode == 0) out += ", none of the type that was asked for";
  if (answer.authoritative) out += ", authoritative";
  if (answer.truncated) out += ", truncated";
  if (!answer.recursion_available) out += ", the server offers no recursion";
  return out;
}

std::string times(const Times& times, Transport transport) {
  std::string out;
  const auto add = [&](const char* what, const std::optional<Microseconds>& time) {
    if (time) out += std::string(what) + " " + to_string(*time) + ", ";
  };
  add("resolve", times.resolve);
  add("connect", times.connect);
  if (transport == Transport::TcpThroughProxy) add("CONNECT", times.handshake);
  add("DNS", times.dns);
  return out + "total " + to_string(times.total);
}

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

int exit_code(Step step) noexcept {
  switch (step) {
    case Step::Send:
      return kExitSend;
    case Step::Wait:
      return kExitWait;
    case Step::ReachProxy:
      return kExitReachProxy;
    case Step::ProxyRefused:
      return kExitProxyRefused;
    case Step::Answer:
      return kExitAnswer;
    case Step::Rcode:
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

std::string to_string(Microseconds time) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f ms", static_cast<double>(time.count()) / 1000.0);
  return text.data();
}

std::string to_text(const ProbeReport& report) {
  std::string out;
  line(out, "question", report.question);
  line(out, "server", to_string(report.server) + over(report));
  if (report.proxy_status != 0)
    line(out, "proxy", "status " + std::to_string(report.proxy_status) + " to CONNECT");
  if (report.answer) {
    line(out, "answer", summary(*report.answer));
    for (const auto& record : report.answer->records) line(out, "", dns::to_string(record));
  }
  line(out, "times", times(report.times, report.transport));
  for (const auto& note : report.notes) line(out, "note", note);
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
