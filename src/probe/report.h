#pragma once
// What a person reads of a probe.
#include <string>

#include "probe/dns_probe.h"

namespace proxyvpn::probe {

// "12.3 ms"
std::string to_string(Microseconds time);

// Question, server, answer, times and notes, one fact per line, ends with a newline. The failure is
// not in it.
std::string to_text(const ProbeReport& report);

}  // namespace proxyvpn::probe
