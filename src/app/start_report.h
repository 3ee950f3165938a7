#pragma once
// What `up` says when it is up, and what `counters` answers, as text made of values.
#include <string>
#include <vector>

#include "app/control_protocol.h"
#include "app/status.h"
#include "base/ip.h"
#include "firewall/firewall.h"

namespace proxyvpn::app {

// A few lines for the terminal: what is in force, and how to stop it.
std::vector<std::string> start_lines(const Status& status, bool detached);
// "DNS bypass IPs: [192.0.2.53, 192.0.2.54]"
std::string dns_line(const std::vector<IpAddress>& resolvers);

Fields counter_fields(const std::vector<firewall::Counter>& refused);

}  // namespace proxyvpn::app
