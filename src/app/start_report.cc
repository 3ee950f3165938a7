#include "app/start_report.h"

#include "app/status_text.h"

namespace proxyvpn::app {

std::string dns_line(const std::vector<IpAddress>& resolvers) {
  std::string list;
  for (const auto& resolver : resolvers) {
    if (!list.empty()) list += ", ";
    list += to_string(resolver);
  }
  return "DNS bypass IPs: [" + list + "]";
}

std::vector<std::string> start_lines(const Status& status, bool detached) {
  const Fields fields = {
      {"proxy", proxy_text(status)},
      {"tun", tun_text(status)},
      {"killswitch", killswitch_text(status)},
      {"resolvers", resolver_text(status)},
      {"stop with", detached ? "proxyvpn down" : "Ctrl-C, or `proxyvpn down` in another terminal"},
  };
  std::vector<std::string> lines = {"proxyvpn is up: TCP goes through the proxy"};
  const std::string text = aligned(fields);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back("  " + text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

Fields counter_fields(const std::vector<firewall::Counter>& refused) {
  Fields fields;
  for (const auto& counter : refused) {
    fields.emplace_back("refused-" + counter.reason, counted(counter.packets, "packet", "packets") +
                                                         ", " + std::to_string(counter.bytes) +
                                                         " bytes");
  }
  return fields;
}

}  // namespace proxyvpn::app
