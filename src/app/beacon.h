#pragma once
// Where the daemon of this network namespace is, for a `down` that no state directory leads to: an
// abstract socket (unix(7)), which lives in the namespace and needs no file. Nothing is said over
// it; that the kernel names the process behind it is all (SO_PEERCRED). A person who squats on the
// name gains nothing: the killswitch's table tells whether a daemon lives.
#include <sys/types.h>

#include <memory>
#include <optional>

#include "base/error.h"
#include "base/unique_fd.h"
#include "event/reactor.h"

namespace proxyvpn::app {

class Beacon {
 public:
  // Code::Busy when somebody has the name already. `reactor` outlives it.
  static Result<std::unique_ptr<Beacon>> open(event::Reactor& reactor);
  ~Beacon();
  Beacon(const Beacon&) = delete;
  Beacon& operator=(const Beacon&) = delete;

 private:
  Beacon(event::Reactor& reactor, UniqueFd listener);
  event::Reactor& reactor_;
  UniqueFd listener_;
  event::FunctionHandler handler_;
};

struct BeaconOwner {
  pid_t pid = 0;
  uid_t uid = 0;
  UniqueFd process;  // pidfd_open(2)
};
// Who holds the beacon of this network namespace; nothing when nobody does.
std::optional<BeaconOwner> find_beacon();

}  // namespace proxyvpn::app
