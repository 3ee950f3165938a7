#pragma once
// The state directory: control socket, lock, state file and log of one daemon. Nothing in it is
// needed for correctness; everything in it may be missing, corrupt, foreign or read-only.
// All access is relative to one descriptor, without following a symbolic link.
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {

inline constexpr char kDefaultStateDir[] = "/run/proxyvpn";
inline constexpr char kInstallGroup[] = "proxyvpn";
inline constexpr char kControlName[] = "control";
inline constexpr char kStateName[] = "state";
inline constexpr char kLockName[] = "lock";
inline constexpr char kLogName[] = "proxyvpn.log";
inline constexpr char kOldLogName[] = "proxyvpn.log.1";

// The group whose members may command the daemon; empty when the system has none. Looked up once,
// as name services can be slow (getgrnam_r(3)).
std::optional<gid_t> install_group();

class StateDir {
 public:
  // Opens `path`, and makes it (0750, group of the install group where we may give it away) when it
  // is not there; missing parents are not made. A directory that somebody else could write to is
  // refused: it must belong to root or to us, be closed to others, and open to the install group at
  // most (Code::Permission). A symbolic link is refused.
  static Result<StateDir> open_or_make(const std::string& path);
  // Opens an existing one only, for a client; ownership is not judged (the peer's credentials are).
  static Result<StateDir> open_existing(const std::string& path);

  [[nodiscard]] int fd() const noexcept { return directory_.get(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] bool made_by_us() const noexcept { return made_; }
  // A run before made it and could not remove it.
  void inherit() noexcept { made_ = true; }

  // Replaces a file as a whole (temporary file, rename(2)), mode 0640.
  Result<> write_file(const std::string& name, std::string_view content) const;
  // A regular file of at most `limit` bytes; longer ones are an error.
  Result<std::string> read_file(const std::string& name, std::size_t limit) const;
  // Missing is success.
  Result<> remove_file(const std::string& name) const;
  // Gives a file or socket in the directory to the install group, with this mode. Not being allowed
  // to is no error: root and the owner still reach it.
  void share_with_group(const std::string& name, mode_t mode) const noexcept;
  // Removes the directory itself when it is empty and we made it.
  void remove_if_made() noexcept;

 private:
  StateDir(UniqueFd directory, std::string path, bool made)
      : directory_(std::move(directory)), path_(std::move(path)), made_(made) {}
  UniqueFd directory_;
  std::string path_;
  bool made_ = false;
};

// Where an ordinary user's state goes when /run/proxyvpn can't be used: $XDG_RUNTIME_DIR/proxyvpn,
// if that is an absolute path to a directory of this user that is closed to all others (the XDG
// base directory specification). Empty otherwise.
std::optional<std::string> user_state_dir(uid_t uid);
// Every place where a daemon's control socket may be, in the order to try: `configured`, the user's
// own directory, and for root those of all users.
std::vector<std::string> candidate_state_dirs(const std::string& configured, uid_t uid);

// One daemon per state directory: a record lock (fcntl(2) F_SETLK), which children do not inherit
// and for which the kernel names the holder.
class InstanceLock {
 public:
  // Code::Busy names the process that holds it. The file is opened once per process: closing any
  // other descriptor of it would drop the lock.
  static Result<InstanceLock> take(const StateDir& directory);
  // The process that holds the lock now; empty when nobody does or the file is not there.
  static std::optional<pid_t> holder(const StateDir& directory);

 private:
  explicit InstanceLock(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

}  // namespace proxyvpn::app
