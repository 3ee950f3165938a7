#pragma once
// What state the machine is in when no daemon answers: read from the kernel alone.
#include "app/config.h"
#include "app/status.h"

namespace proxyvpn::app {

// Crashed, Locked, Down or Unknown, and Unknown with a hint when a daemon lives that can't be
// asked. With CAP_NET_ADMIN the packet filter tells; without it rules and routes do, which anybody
// may read and which stand and fall with the killswitch.
Status state_without_daemon(const Config& config);

// The same from what was read, for the second way: `presence` is missing where the filter could not
// be read.
struct MachineFacts {
  std::optional<firewall::Presence> presence;
  std::string filter_problem;    // why it is missing
  bool locked = false;           // the marker of `lock` and --persist-killswitch is there
  bool routing_of_ours = false;  // rules or routes with our protocol number
  bool daemon_lives = false;     // its beacon answers in this network namespace
};
Status judge_machine(const MachineFacts& facts);

}  // namespace proxyvpn::app
