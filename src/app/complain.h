#pragma once
#include <cstdio>
#include <string>

namespace proxyvpn::app {

// How a command that talks to the daemon ends when it fails: the sentence on standard error, and
// the exit status.
inline int complain(const std::string& sentence) {
  std::fprintf(stderr, "proxyvpn: error: %s\n", sentence.c_str());
  return 1;
}

}  // namespace proxyvpn::app
