#pragma once
// The process that answers Prometheus: no privilege, no descriptor but its listener and a channel
// to the supervisor, bounded in clients, bytes and time. It asks the supervisor for a status when
// somebody asks it, so that nobody works while nobody looks.
#include "base/unique_fd.h"

namespace proxyvpn::app {

// On the channel (SOCK_SEQPACKET): one byte asks, a status as JSON (status_json.h) answers.
inline constexpr char kAskForStatus = '?';
inline constexpr std::size_t kMostStatusBytes = std::size_t{128} * 1024;

// Runs until the channel ends. Answers the exit status of the process, which has entered its
// sandbox.
int run_metrics_server(UniqueFd listener, UniqueFd channel) noexcept;

}  // namespace proxyvpn::app
