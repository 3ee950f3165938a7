#include "app/cleanup.h"

namespace proxyvpn::app {
namespace {

using firewall::Presence;

tl::unexpected<Error> owned_by_another() {
  return fail(Code::Busy, "a proxyvpn that is still alive holds this machine's killswitch");
}

// Nobody knows which connections went direct by the policy of a crashed run, or `lock` has none:
// all that came not from outside are cut, so that no application's next byte leaves in clear.
void cut_connections(const HostDoors& doors, CleanUp& result) {
  const auto sockets = list_sockets(*doors.sockets);
  if (!sockets) {
    result.warnings.push_back("open connections can't be cut: " + sockets.error().message);
    return;
  }
  for (const auto& socket : captured(*sockets, firewall::Policy{})) {
    if (auto destroyed = doors.sockets->destroy(socket); !destroyed) {
      result.warnings.push_back("open connections can't be cut: " + destroyed.error().message);
      return;
    }
    ++result.connections;
  }
}

Result<> remove_routing(const HostDoors& doors, const std::vector<std::string>& tun_names,
                        bool keep_marker, CleanUp& result) {
  for (const auto& name : tun_names) {
    if (auto removed = doors.routing->remove_tun(name); !removed) {
      result.warnings.push_back(removed.error().message);
    }
  }
  const auto removed = doors.routing->remove_all_of_ours();
  if (!removed) return tl::unexpected(removed.error());
  result.found = result.found || *removed != 0;
  if (keep_marker) return doors.routing->add(lock_marker());
  return {};
}

}  // namespace

Result<CleanUp> clean_up(const HostDoors& doors, const std::vector<std::string>& tun_names,
                         Leftovers what) {
  const auto capability = doors.raise ? doors.raise() : nullptr;
  CleanUp result;
  const auto presence = doors.firewall->presence();
  if (!presence) return tl::unexpected(presence.error());
  if (*presence == Presence::Owned) return owned_by_another();
  const bool shut_now = *presence != Presence::Absent;
  result.found = shut_now;
  const auto locked = is_locked(*doors.routing);
  if (!locked) return tl::unexpected(locked.error());
  result.still_locked = shut_now && *locked && what == Leftovers::Remove;
  if (shut_now && !*locked) cut_connections(doors, result);
  if (auto removed = remove_routing(doors, tun_names, result.still_locked, result); !removed) {
    return tl::unexpected(removed.error());
  }
  if (result.still_locked) return result;
  if (auto removed = doors.firewall->remove(); !removed) return tl::unexpected(removed.error());
  return result;
}

Result<CleanUp> lock_machine(const HostDoors& doors, firewall::Policy policy) {
  const auto capability = doors.raise ? doors.raise() : nullptr;
  const auto presence = doors.firewall->presence();
  if (!presence) return tl::unexpected(presence.error());
  if (*presence == Presence::Owned) return owned_by_another();
  CleanUp result;
  if (const auto sockets = list_sockets(*doors.sockets)) {
    keep_inbound(*sockets, policy);
  } else {
    result.warnings.push_back("connections into this machine that are open now may end: " +
                              sockets.error().message);
  }
  if (auto installed = doors.firewall->install(shut(policy)); !installed)
    return tl::unexpected(installed.error());
  if (auto marked = doors.routing->add(lock_marker()); !marked)
    return tl::unexpected(marked.error());
  cut_connections(doors, result);
  return result;
}

}  // namespace proxyvpn::app
