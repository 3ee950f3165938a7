#pragma once
// What the command of `run` must not see of this machine's name service, in a mount namespace of
// its own: another resolv.conf, and nothing of the daemons that would look names up outside
// (mount_namespaces(7)).
#include <string>

#include "base/error.h"

namespace proxyvpn::app {

// Needs CAP_SYS_ADMIN over the mount namespace, which must be this process's own.
// `resolv_conf`: the text of /etc/resolv.conf from now on. NotFound when this machine has no such
// file, with what to do.
Result<> mount_private_files(const std::string& resolv_conf);

}  // namespace proxyvpn::app
