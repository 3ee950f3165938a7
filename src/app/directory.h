#pragma once
#include <dirent.h>

#include <memory>

namespace proxyvpn::app {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
// What opendir(3) gives; empty when it failed, and errno says why.
using Directory = std::unique_ptr<DIR, CloseDirectory>;

}  // namespace proxyvpn::app
