#include "selftest/options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/secret.h"
#include "selftest/report.h"

namespace proxyvpn::selftest {
namespace {

constexpr long kMaxTimeoutMs = 600'000;

struct Flags {
  std::string name = "ifconfig.me";
  std::string type = "A";
  std::string server;
  long timeout_ms = 1500;
  bool tcp = false;
  bool no_ip = false;
  std::string proxy_url;
  std::uint32_t socket_mark = 0;
};

// Keeps references to `flags`.
void define(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", "proxyvpn-selftest " PROXYVPN_VERSION);
  app.add_option("--name", flags.name, "Name to ask for")->type_name("HOST")->capture_default_str();
  app.add_option("--type", flags.type, "Record type to ask for")
      ->check(CLI::IsMember({"A", "AAAA"}, CLI::ignore_case))
      ->type_name("A|AAAA")
      ->capture_default_str();
  app.add_option("--server", flags.server,
                 "Name server, IPv4 or IPv6, with or without a port: 192.0.2.1, [2001:db8::1]:53 "
                 "[default: the first IPv4 nameserver of /etc/resolv.conf, else its first]")
      ->type_name("ADDR");
  app.add_option("--timeout-ms", flags.timeout_ms, "Time for the whole probe, in milliseconds")
      ->check(CLI::Range(1L, kMaxTimeoutMs).description(""))
      ->type_name("MS")
      ->capture_default_str();
  app.add_flag("--tcp", flags.tcp, "Ask over TCP instead of UDP, as any application's connection");
  app.add_flag("--no-ip", flags.no_ip, "Do not show policy rules and routes");
  app.add_option("--proxy-url", flags.proxy_url,
                 "Ask over TCP through this HTTP proxy: http://user:pass@host:port")
      ->envname(kProxyUrlVariable)
      ->type_name("URL");
  app.add_option("--socket-mark", flags.socket_mark,
                 "SO_MARK of the connection to the proxy, decimal or 0x...; needs CAP_NET_ADMIN")
      ->type_name("MARK");
  app.footer(exit_code_help());
}

Done usage(std::string text) {
  return {kExitUsage, {}, "proxyvpn-selftest: " + std::move(text) + "\n"};
}

std::variant<Options, Done> to_options(const CLI::App& app, Flags& flags) {
  Options out;
  out.show_ip = !flags.no_ip;
  out.probe.name = flags.name;
  out.probe.type =
      CLI::detail::to_lower(flags.type) == "aaaa" ? dns::RecordType::Aaaa : dns::RecordType::A;
  out.probe.tcp = flags.tcp;
  out.probe.timeout = milliseconds(flags.timeout_ms);
  if (app.count("--socket-mark") > 0) out.probe.socket_mark = flags.socket_mark;
  if (app.count("--proxy-url") > 0) {
    auto url = connect::parse_proxy_url(flags.proxy_url);
    wipe(flags.proxy_url);
    if (!url) return usage("--proxy-url: " + url.error().message);
    out.probe.proxy = std::move(*url);
  } else if (out.probe.socket_mark) {
    return usage("--socket-mark is for the connection to the proxy: give --proxy-url too");
  }
  if (app.count("--server") > 0) {
    const auto server = probe::parse_server(flags.server);
    if (!server) return usage("--server: " + server.error().message);
    if (out.probe.proxy && !server->zone.empty()) {
      return usage("--server: " + flags.server +
                   " is an address on a link of this machine, which a proxy cannot reach");
    }
    out.probe.server = *server;
    out.server_given = true;
  }
  if (const auto query = dns::build_query(out.probe.name, out.probe.type); !query)
    return usage("--name: " + query.error().message);
  return out;
}

void hide_typed_passwords(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) hide_passwords(argv[i], std::strlen(argv[i]));
  if (char* variable = std::getenv(kProxyUrlVariable))
    hide_passwords(variable, std::strlen(variable));
}

}  // namespace

void hide_passwords(char* text, std::size_t length) noexcept {
  const std::string_view view(text, length);
  std::size_t from = 0;
  for (;;) {
    const auto scheme = view.find("://", from);
    if (scheme == std::string_view::npos) return;
    // A password may hold anything but blanks: up to the last '@' of the word.
    const auto end = std::min(view.find_first_of(" \t\n", scheme), length);
    const auto word = view.substr(0, end);
    const auto colon = word.find(':', scheme + 3);
    const auto at = word.rfind('@');
    if (colon != std::string_view::npos && at != std::string_view::npos && colon < at)
      std::fill(text + colon + 1, text + at, '*');
    from = end;
  }
}

std::variant<Options, Done> parse_options(int argc, char** argv) {
  CLI::App app(
      "Asks a name server one question, directly or through an HTTP proxy, and shows what "
      "happened, with the machine's policy rules and routes.",
      "proxyvpn-selftest");
  Flags flags;
  define(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    hide_typed_passwords(argc, argv);
    std::ostringstream out;
    std::ostringstream err;
    const int code = app.exit(error, out, err);
    auto text = err.str();
    hide_passwords(text.data(), text.size());
    return Done{code == 0 ? kExitOk : kExitUsage, out.str(), std::move(text)};
  }
  hide_typed_passwords(argc, argv);
  return to_options(app, flags);
}

}  // namespace proxyvpn::selftest
