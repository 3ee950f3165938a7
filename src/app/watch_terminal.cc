#include "app/watch_terminal.h"

#define NCURSES_NOMACROS  // its macros are called `move`, `clear`, `timeout`, ...
#include <langinfo.h>
#include <ncurses.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace proxyvpn::app {
namespace {

// Numbers of colour pairs.
constexpr short kGreen = 1;
constexpr short kRed = 2;
constexpr short kCyan = 3;
constexpr short kYellow = 4;

class CursesTerminal final : public WatchTerminal {
 public:
  explicit CursesTerminal(SCREEN* screen, bool utf8) : screen_(screen), utf8_(utf8) {
    ::cbreak();
    ::noecho();
    ::nodelay(::stdscr, true);
    ::keypad(::stdscr, true);
    ::curs_set(0);
    const char* const no_color = std::getenv("NO_COLOR");  // no-color.org
    colours_ = (no_color == nullptr || *no_color == '\0') && ::has_colors();
    if (!colours_) return;
    ::start_color();
    ::use_default_colors();
    ::init_pair(kGreen, COLOR_GREEN, -1);
    ::init_pair(kRed, COLOR_RED, -1);
    ::init_pair(kCyan, COLOR_CYAN, -1);
    ::init_pair(kYellow, COLOR_YELLOW, -1);
  }
  ~CursesTerminal() override {
    ::endwin();
    ::delscreen(screen_);
  }
  CursesTerminal(const CursesTerminal&) = delete;
  CursesTerminal& operator=(const CursesTerminal&) = delete;

  [[nodiscard]] unsigned width() const override {
    return static_cast<unsigned>(::getmaxx(::stdscr));
  }
  [[nodiscard]] unsigned height() const override {
    return static_cast<unsigned>(::getmaxy(::stdscr));
  }
  [[nodiscard]] bool utf8() const override { return utf8_; }

  void resize() override {
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
      return;
    }
    ::resizeterm(size.ws_row, size.ws_col);
    ::clearok(::stdscr, true);
  }

  void paint(const std::vector<ScreenLine>& lines) override {
    ::werase(::stdscr);
    for (std::size_t y = 0; y < lines.size(); ++y) {
      ::wmove(::stdscr, static_cast<int>(y), 0);
      for (const Span& span : lines[y]) {
        ::wattrset(::stdscr, static_cast<int>(attributes(span.style)));
        ::waddstr(::stdscr, span.text.c_str());
      }
    }
    ::wattrset(::stdscr, A_NORMAL);
    ::wrefresh(::stdscr);
  }

  int key() override {
    const int key = ::wgetch(::stdscr);
    return key == ERR ? 0 : key;
  }

 private:
  [[nodiscard]] chtype colour(short pair) const {
    return colours_ ? static_cast<chtype>(COLOR_PAIR(pair)) : A_NORMAL;
  }
  [[nodiscard]] chtype attributes(Style style) const {
    switch (style) {
      case Style::Plain:
        return A_NORMAL;
      case Style::Dim:
        return A_DIM;
      case Style::Bold:
        return A_BOLD;
      case Style::Good:
        return A_BOLD | colour(kGreen);
      case Style::Bad:
        return A_BOLD | colour(kRed);
      case Style::Up:
        return colour(kYellow);
      case Style::Down:
        return colour(kCyan);
    }
    return A_NORMAL;
  }
  SCREEN* screen_;
  bool utf8_;
  bool colours_ = false;
};

}  // namespace

std::unique_ptr<WatchTerminal> WatchTerminal::open() {
  if (::isatty(STDOUT_FILENO) == 0 || ::isatty(STDIN_FILENO) == 0) return nullptr;
  std::setlocale(LC_CTYPE, "");
  const bool utf8 = std::string_view(::nl_langinfo(CODESET)) == "UTF-8";
  // Not initscr(3X), which ends the program for a terminal that it does not know.
  SCREEN* const screen = ::newterm(nullptr, stdout, stdin);
  if (screen == nullptr) return nullptr;
  return std::make_unique<CursesTerminal>(screen, utf8);
}

}  // namespace proxyvpn::app
