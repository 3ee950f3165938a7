#include "probe/report.h"

#include <array>
#include <cstdio>
#include <string_view>

namespace proxyvpn::probe {
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

}  // namespace

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

}  // namespace proxyvpn::probe
