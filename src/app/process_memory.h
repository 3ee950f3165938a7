#pragma once
// How much memory a process has, as the kernel says (proc_pid_statm(5)).
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace proxyvpn::app {

// Resident bytes; empty when the process is gone or not to be seen.
std::optional<std::uint64_t> resident_bytes(pid_t pid);
// Resident pages in the text of statm: its second number.
std::optional<std::uint64_t> resident_pages(std::string_view statm);

}  // namespace proxyvpn::app
