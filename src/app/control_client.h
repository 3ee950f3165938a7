#pragma once
// The control socket as `down` and `status` use it. These calls wait, each for a bounded time.
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/control_protocol.h"
#include "app/state_dir.h"
#include "base/clock.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {

// For an answer that the daemon has at hand.
inline constexpr seconds kAnswerTime{3};

class ControlClient {
 public:
  // Connects to the daemon of a state directory. NotFound: none listens there. Permission: this
  // user may not.
  static Result<ControlClient> connect(const StateDir& directory);

  // The daemon's process as the kernel knows it; its descriptor (pidfd_open(2)) becomes readable
  // when it has ended, and signals through it never reach another process.
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] int process() const noexcept { return process_.get(); }

  Result<> send(const Request& request);
  // Reads until the end of the stream or the first "done"; Timeout when nothing comes for so long.
  // What has come so far is kept for the next call.
  enum class Progress { FirstLine, End };
  Result<> wait(Progress what, Duration at_most);
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  // What came beside the text.
  std::vector<UniqueFd> take_descriptors() noexcept { return std::move(descriptors_); }

 private:
  ControlClient(UniqueFd socket, UniqueFd process, pid_t pid)
      : socket_(std::move(socket)), process_(std::move(process)), pid_(pid) {}
  UniqueFd socket_;
  UniqueFd process_;
  pid_t pid_ = 0;
  std::string text_;
  std::vector<UniqueFd> descriptors_;
};

// One request and its reply, waiting at most `at_most` in all.
struct Answered {
  ControlReply reply;
  std::vector<UniqueFd> descriptors;
};
Result<Answered> ask(const StateDir& directory, const Request& request, Duration at_most);
// The same of the first daemon that answers, in every directory that may be its. NotFound: there is
// none.
Result<Answered> ask_any(const Config& config, const Request& request, Duration at_most);

// Waits until a process descriptor says that the process has ended. False: it lives on.
bool wait_for_end(int process, Duration at_most);

}  // namespace proxyvpn::app
