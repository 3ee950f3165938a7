#pragma once
// The terminal of `status --watch`, by ncurses: taken over, painted, and given back as it was.
#include <memory>
#include <vector>

#include "app/watch_screen.h"

namespace proxyvpn::app {

class WatchTerminal {
 public:
  // Null when standard output is no terminal, or one that ncurses knows nothing of.
  static std::unique_ptr<WatchTerminal> open();
  virtual ~WatchTerminal() = default;  // gives the terminal back
  [[nodiscard]] virtual unsigned width() const = 0;
  [[nodiscard]] virtual unsigned height() const = 0;
  [[nodiscard]] virtual bool utf8() const = 0;
  // Takes the size that the terminal has now (after SIGWINCH).
  virtual void resize() = 0;
  virtual void paint(const std::vector<ScreenLine>& lines) = 0;
  // A key that was pressed, 0 for none. Never waits.
  virtual int key() = 0;
};

}  // namespace proxyvpn::app
