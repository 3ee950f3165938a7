#pragma once
// Runs one of the system's own commands: bounded in time and output, never by a shell.
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace proxyvpn::firewall {

struct CommandOutput {
  int status = 0;  // exit status; 128 + n when signal n ended it
  std::string out;
  std::string err;
};

inline constexpr std::size_t kOutputLimit = std::size_t{32} * 1024 * 1024;  // bytes of each stream
inline constexpr milliseconds kCommandTimeout{15000};

// Absolute path of an executable of this name in /usr/sbin, /sbin, /usr/bin or /bin, in this
// order. $PATH is not asked. Code::NotFound.
Result<std::string> find_command(std::string_view name);

// Forks and executes `path` with `arguments` (without the name itself), `input` on its standard
// input, a fixed environment (PATH of the system's folders, LC_ALL=C) and folder "/". When the
// caller is not root and has CAP_NET_ADMIN permitted, the child gets it as ambient capability.
// The child is killed and reaped when it takes longer than `timeout` (Code::Timeout), writes more
// than kOutputLimit, or when the caller dies. A status other than 0 is not an error here. Blocks.
Result<CommandOutput> run_command(const std::string& path,
                                  const std::vector<std::string>& arguments, std::string_view input,
                                  milliseconds timeout = kCommandTimeout);

// The same; a status other than 0 is an error with the command's own words.
Result<std::string> run_checked(const std::string& path, const std::vector<std::string>& arguments,
                                std::string_view input);

}  // namespace proxyvpn::firewall
