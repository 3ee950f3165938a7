#include "app/watch.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>

#include "app/status_command.h"
#include "app/status_json.h"
#include "app/status_text.h"
#include "app/watch_terminal.h"
#include "base/unique_fd.h"

namespace proxyvpn::app {
namespace {

constexpr seconds kRefresh{1};
constexpr unsigned kOwnersEvery = 3;   // refreshes: looking through /proc is the dear part
constexpr unsigned kForgetEvery = 60;  // refreshes: a socket's addresses may get another owner

// The signals that end or change the view, as a descriptor.
UniqueFd take_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return UniqueFd(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

enum class Event { Tick, Key, Resize, End };

class Watch {
 public:
  Watch(const Config& config, UniqueFd signals) : config_(config), signals_(std::move(signals)) {}

  int live(WatchTerminal& terminal) {
    view_.utf8 = terminal.utf8();
    TimePoint next = Clock::now();
    for (;;) {
      if (Clock::now() >= next) {
        refresh(terminal.height());
        next = Clock::now() + kRefresh;
      }
      terminal.paint(draw(view_, terminal.width(), terminal.height()));
      switch (wait(next, STDIN_FILENO)) {
        case Event::End:
          return 0;
        case Event::Resize:
          terminal.resize();
          break;
        case Event::Key:
          if (!press(terminal)) return 0;
          break;
        case Event::Tick:
          break;
      }
    }
  }

  int plain(bool json) {
    for (;;) {
      const TimePoint next = Clock::now() + kRefresh;
      const auto status = read_status(config_);
      const std::string text = !status ? "Unknown\nhint  " + status.error().message + "\n\n"
                               : json  ? to_json(*status) + "\n"
                                       : status_text(*status) + "\n";
      if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) return 0;
      for (Event event = Event::Resize; event != Event::Tick;) {
        event = wait(next, -1);
        if (event == Event::End) return 0;
      }
    }
  }

 private:
  // Until `next`, a key, or a signal.
  Event wait(TimePoint next, int keyboard) {
    const auto left = std::chrono::ceil<milliseconds>(next - Clock::now()).count();
    pollfd entries[2] = {{signals_.get(), POLLIN, 0}, {keyboard, POLLIN, 0}};
    if (::poll(entries, 2, left > 0 ? static_cast<int>(left) : 0) <= 0) return Event::Tick;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      return info.ssi_signo == SIGWINCH ? Event::Resize : Event::End;
    }
    // A terminal that is gone hangs up; SIGHUP may not come to us.
    if ((entries[1].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return Event::End;
    return Event::Key;
  }

  // False: the view shall end.
  bool press(WatchTerminal& terminal) {
    for (int key = terminal.key(); key != 0; key = terminal.key()) {
      if (key == 'q' || key == 'Q') return false;
      if (key == 's') view_.sort = next_sort(view_.sort);
    }
    sort_rows(view_.rows, view_.sort);
    return true;
  }

  void refresh(unsigned height) {
    view_.problem.clear();
    auto status = read_status(config_);
    if (status) {
      view_.status = std::move(*status);
    } else {
      view_.status = Status{};
      view_.problem = status.error().message;
    }
    auto flows = view_.status.pid != 0 ? read_flows(config_) : Result<FlowList>(FlowList{});
    if (!flows) view_.problem = flows.error().message;
    FlowList before = std::move(view_.flows);
    view_.flows = flows ? std::move(*flows) : FlowList{};
    view_.rows = to_rows(before, view_.flows);
    sort_rows(view_.rows, view_.sort);
    name_owners(flow_rows_shown(view_, height));
    ++refreshes_;
  }

  void name_owners(unsigned shown) {
    if (refreshes_ % kForgetEvery == 0) owners_ = OwnerFinder();
    if (refreshes_ % kOwnersEvery == 0 || shown > looked_for_) {
      looked_for_ = shown;
      std::vector<std::pair<Endpoint, Endpoint>> ends;
      for (unsigned i = 0; i < shown; ++i) {
        ends.emplace_back(view_.rows[i].flow.source, view_.rows[i].flow.destination);
      }
      owners_.look(ends);
    }
    for (auto& row : view_.rows) {
      const auto* owner = owners_.find(row.flow.source, row.flow.destination);
      if (owner != nullptr) row.owner = *owner;
    }
  }

  const Config& config_;
  UniqueFd signals_;
  WatchView view_;
  OwnerFinder owners_;
  unsigned refreshes_ = 0;
  unsigned looked_for_ = 0;  // rows, the last time that owners were looked up
};

}  // namespace

int run_watch(const Config& config, bool json) {
  Watch watch(config, take_signals());
  const auto terminal = json ? nullptr : WatchTerminal::open();
  return terminal ? watch.live(*terminal) : watch.plain(json);
}

}  // namespace proxyvpn::app
