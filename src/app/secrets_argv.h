#pragma once
// Takes what the user typed out of the process list: /proc/<pid>/cmdline and environ show the very
// memory that execve(2) laid out, so a secret is gone from there once its bytes are overwritten.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxyvpn::app {

// Copies argv[1] .. argv[argc - 1] and overwrites in place, byte by byte with '*', every password
// in them: the value of --password (either spelling) and the password of anything that looks like
// user:password@host. The shape stays, so that `ps` still tells the user which proxy is meant.
// The copies hold the secrets; the caller wipes them.
std::vector<std::string> take_arguments(int argc, char** argv);

// The value of a variable of `environment` (a null-terminated array as environ(7)); its password is
// overwritten in place in the same way. Not getenv(3)'s copy: the memory of the process itself.
std::optional<std::string> take_variable(char** environment, std::string_view name);

// A text for people with the password of every user:password@host in it replaced by "***". The
// example that our own texts show, http://user:pass@host:port, stays.
std::string redact(std::string_view text);

}  // namespace proxyvpn::app
