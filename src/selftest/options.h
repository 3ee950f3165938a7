#pragma once
// The command line of proxyvpn-selftest.
#include <string>
#include <variant>

#include "base/error.h"
#include "probe/dns_probe.h"

namespace proxyvpn::selftest {

inline constexpr const char* kProxyUrlVariable = "PROXYVPN_SELFTEST_PROXY_URL";

struct Options {
  probe::ProbeOptions probe;
  bool server_given = false;  // else probe.server waits for default_server()
  bool show_ip = true;
};

// What is to be printed and the exit code, when there is nothing to run.
struct Done {
  int exit_code = 0;
  std::string out;  // to stdout
  std::string err;  // to stderr
};

// Reads argv and kProxyUrlVariable, and overwrites the passwords in both, so that they are gone
// from the process list. No password is in any text.
std::variant<Options, Done> parse_options(int argc, char** argv);

// Overwrites the password of every scheme://user:password@host in `text` with '*', in place.
void hide_passwords(char* text, std::size_t length) noexcept;

}  // namespace proxyvpn::selftest
