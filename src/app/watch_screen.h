#pragma once
// What `status --watch` draws, as lines of styled text for a screen of a given size. Pure: no
// terminal, no clock.
#include <cstdint>
#include <string>
#include <vector>

#include "app/flows_view.h"
#include "app/status.h"

namespace proxyvpn::app {

enum class Style : std::uint8_t { Plain, Dim, Bold, Good, Bad, Up, Down };

struct Span {
  std::string text;  // UTF-8
  Style style = Style::Plain;
  unsigned columns = 0;  // that it takes on the screen
};
using ScreenLine = std::vector<Span>;

struct WatchView {
  Status status;
  FlowList flows;
  std::vector<FlowRow> rows;  // sorted
  FlowSort sort = FlowSort::Rate;
  std::string problem;  // why something of this is missing; empty: nothing is
  bool utf8 = true;     // the terminal can show blocks
};

// At most `height` lines, none wider than `width`. Never empty when there is room.
std::vector<ScreenLine> draw(const WatchView& view, unsigned width, unsigned height);
// How many rows of flows draw() shows: whoever looks up their owners need not look up more.
unsigned flow_rows_shown(const WatchView& view, unsigned height);

// A graph `rows` lines high and `width` columns wide, the newest value at the right; the highest
// value fills it. Top line first.
std::vector<std::string> sparkline(const std::vector<std::uint64_t>& values, unsigned width,
                                   unsigned rows, bool utf8);

}  // namespace proxyvpn::app
