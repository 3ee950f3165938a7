#pragma once
// Status for people: the state word, then aligned fields.
#include <cstdint>
#include <string>

#include "app/control_protocol.h"
#include "app/status.h"

namespace proxyvpn::app {

std::string status_text(const Status& status);
// The same without the state word, for those who lay it out themselves.
Fields status_fields(const Status& status);

// "512 B", "1.2 KiB", "3.4 GiB"
std::string human_bytes(std::uint64_t bytes);
// "0 s", "59 s", "3 min 5 s", "2 h 3 min", "5 d 2 h"
std::string human_seconds(std::int64_t seconds);
// "1 packet", "2 packets"
std::string counted(std::uint64_t count, const char* one, const char* many);
// Fields as aligned lines: "proxy       192.0.2.10:8080".
std::string aligned(const Fields& fields);

// Pieces that the report of a start uses too.
std::string proxy_text(const Status& status);
std::string tun_text(const Status& status);
std::string killswitch_text(const Status& status);
std::string resolver_text(const Status& status);

}  // namespace proxyvpn::app
