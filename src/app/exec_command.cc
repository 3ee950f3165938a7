#include "app/exec_command.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace proxyvpn::app {

int execute(const std::vector<std::string>& command) {
  std::vector<char*> words;
  words.reserve(command.size() + 1);
  for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
  const int err = errno;
  std::fprintf(stderr, "proxyvpn: error: cannot run '%s': %s\n", words[0], std::strerror(err));
  return err == ENOENT || err == ENOTDIR ? kExitNoCommand : kExitCannotExecute;
}

}  // namespace proxyvpn::app
