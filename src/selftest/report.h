#pragma once
// What a script reads of a probe, and a person of the machine: exit code and text.
#include <string>

#include "netlink/routing.h"
#include "probe/dns_probe.h"

namespace proxyvpn::selftest {

// Exit codes of proxyvpn-selftest; stable, in --help and in the man page.
inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNoServer = 10;
inline constexpr int kExitSend = 11;
inline constexpr int kExitWait = 12;
inline constexpr int kExitReachProxy = 13;
inline constexpr int kExitProxyRefused = 14;
inline constexpr int kExitAnswer = 15;
inline constexpr int kExitRcode = 16;
inline constexpr int kExitNetlink = 17;
int exit_code(probe::Step step) noexcept;
// The list above as lines for --help.
std::string exit_code_help();

// The policy rules of both families, and the routes of every table that is not the system's own.
std::string to_text(const netlink::Snapshot& snapshot);

}  // namespace proxyvpn::selftest
