#include "app/watch_screen.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "app/status_text.h"

namespace proxyvpn::app {
namespace {

constexpr unsigned kHead = 6;         // lines of words
constexpr unsigned kLegend = 19;      // columns in front of a graph
constexpr unsigned kMostStretch = 3;  // columns per second of history
constexpr std::array<const char*, 9> kBlocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array<const char*, 9> kAscii = {" ", "_", ".", "-", "=", "+", "*", "%", "#"};

// Names of processes may hold anything; a column is a byte here.
std::string printable_ascii(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return result;
}

class LineMaker {
 public:
  explicit LineMaker(unsigned width) : left_(width) {}
  LineMaker& add(std::string_view text, Style style = Style::Plain) {
    std::string clean = printable_ascii(text).substr(0, left_);
    const auto columns = static_cast<unsigned>(clean.size());
    if (columns != 0) line_.push_back({std::move(clean), style, columns});
    left_ -= columns;
    return *this;
  }
  // Of one column per character.
  LineMaker& add_blocks(std::string text, unsigned columns, Style style) {
    if (columns > left_) return *this;
    line_.push_back({std::move(text), style, columns});
    left_ -= columns;
    return *this;
  }
  LineMaker& at(unsigned width, std::string_view text, Style style = Style::Plain,
                bool right = false) {
    const std::string clean = std::string(text.substr(0, width));
    const std::string blanks(width - clean.size(), ' ');
    return add(right ? blanks + clean : clean + blanks, style);
  }
  ScreenLine take() { return std::move(line_); }

 private:
  unsigned left_;
  ScreenLine line_;
};

Style style_of(const Status& status) {
  if (status.state == RunState::Up) return Style::Good;
  return is_shut(status) ? Style::Bad : Style::Bold;
}

ScreenLine title(const WatchView& view, unsigned width) {
  const Status& status = view.status;
  LineMaker line(width);
  line.add(state_text(status), style_of(status));
  if (status.pid != 0) {
    line.add("  since ", Style::Dim).add(human_seconds(status.now - status.started), Style::Dim);
  }
  if (!status.trouble.empty()) line.add("  the proxy " + status.trouble, Style::Bad);
  if (!status.detail.empty()) line.add("  " + status.detail, Style::Dim);
  if (!view.problem.empty()) line.add("  " + view.problem, Style::Bad);
  return line.take();
}

ScreenLine fact(unsigned width, std::string_view name, std::string_view text) {
  return LineMaker(width).at(12, name, Style::Dim).add(text).take();
}

std::string field(const Fields& fields, std::string_view name) {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return {};
}

void draw_head(const WatchView& view, unsigned width, std::vector<ScreenLine>& lines) {
  const Fields fields = status_fields(view.status);
  std::string proxy = view.status.proxy_url;
  if (view.status.proxy_in_use) proxy.append(" at ").append(to_string(*view.status.proxy_in_use));
  lines.push_back(title(view, width));
  if (view.status.pid == 0) return;
  lines.push_back(fact(width, "proxy", proxy));
  lines.push_back(
      fact(width, "flows", field(fields, "flows") + "; failed: " + field(fields, "failed")));
  lines.push_back(
      fact(width, "refused",
           view.status.killswitch ? field(fields, "refused") : "the killswitch is off"));
  lines.push_back(fact(width, "workers", field(fields, "workers")));
  lines.push_back(fact(width, "memory", field(fields, "memory")));
}

unsigned graph_height(unsigned height) {
  return height < 30 ? 1 : std::min((height - 10) / 10, 4u);
}

// What stands left of a graph: the rate now at its foot, the peak at its head.
struct Legend {
  const char* word = "";
  std::string rate;
  Style style = Style::Dim;
};

Legend legend_for(unsigned row, unsigned rows, bool down, std::uint64_t now, std::uint64_t peak) {
  if (row + 1 == rows) return {down ? "down" : "up", human_bytes(now) + "/s", Style::Plain};
  if (row == 0) return {"max", human_bytes(peak) + "/s", Style::Dim};
  return {};
}

void draw_graph(const WatchView& view, unsigned width, unsigned rows, bool down,
                std::vector<ScreenLine>& lines) {
  std::vector<std::uint64_t> values;
  for (const Rates& sample : view.status.history) values.push_back(down ? sample.down : sample.up);
  const std::uint64_t peak = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  const unsigned room = width > kLegend ? width - kLegend : 0;
  const unsigned stretch = std::clamp(room / 60, 1u, kMostStretch);
  std::vector<std::uint64_t> wide;
  for (const auto value : values) wide.insert(wide.end(), stretch, value);
  const unsigned columns = std::min(room, 60 * stretch);
  const auto graph = sparkline(wide, columns, rows, view.utf8);
  const std::uint64_t now = down ? view.status.rates.down : view.status.rates.up;
  for (unsigned i = 0; i < rows; ++i) {
    const Legend legend = legend_for(i, rows, down, now, peak);
    LineMaker line(width);
    line.at(5, legend.word, Style::Dim).at(kLegend - 6, legend.rate, legend.style, true);
    line.add(" ");
    line.add_blocks(graph[i], columns, down ? Style::Down : Style::Up);
    lines.push_back(line.take());
  }
}

struct Columns {
  unsigned id = 8;
  unsigned application = 16;
  unsigned target = 22;
  bool wide = false;
};

Columns columns_for(unsigned width) {
  Columns columns;
  if (width < 110) return columns;
  columns.wide = true;
  columns.id = 10;
  columns.application = 28;
  columns.target = 48;
  return columns;
}

ScreenLine titles(unsigned width, const Columns& columns) {
  LineMaker line(width);
  line.at(columns.id, "ID", Style::Bold).at(columns.application, "APPLICATION", Style::Bold);
  line.at(columns.target, "TARGET", Style::Bold);
  if (columns.wide) {
    line.at(12, "STATE", Style::Bold).at(12, "AGE", Style::Bold, true);
    line.at(12, "IDLE", Style::Bold, true).at(11, "UP", Style::Bold, true);
    line.at(11, "DOWN", Style::Bold, true);
  } else {
    line.at(10, "TOTAL", Style::Bold, true);
  }
  line.at(12, "UP/S", Style::Bold, true).at(12, "DOWN/S", Style::Bold, true);
  return line.take();
}

ScreenLine flow_line(const FlowRow& row, unsigned width, const Columns& columns) {
  const FlowRecord& flow = row.flow;
  LineMaker line(width);
  // A blank stays between columns: what is longer is cut.
  line.at(columns.id, connect::flow_id_text(flow.id).substr(0, columns.id - 1), Style::Dim);
  line.at(columns.application,
          printable_ascii(owner_text(row.owner)).substr(0, columns.application - 1));
  line.at(columns.target, to_string(flow.destination).substr(0, columns.target - 1));
  if (columns.wide) {
    line.at(12, connect::to_string(flow.state));
    line.at(12, short_time(flow.age), Style::Plain, true);
    line.at(12, short_time(flow.idle), Style::Plain, true);
    line.at(11, human_bytes(flow.bytes_up), Style::Plain, true);
    line.at(11, human_bytes(flow.bytes_down), Style::Plain, true);
  } else {
    line.at(10, human_bytes(flow.bytes_up + flow.bytes_down), Style::Plain, true);
  }
  line.at(12, human_bytes(row.rate_up) + "/s", row.rate_up ? Style::Up : Style::Dim, true);
  line.at(12, human_bytes(row.rate_down) + "/s", row.rate_down ? Style::Down : Style::Dim, true);
  return line.take();
}

ScreenLine footer(const WatchView& view, unsigned width, unsigned shown) {
  LineMaker line(width);
  line.add("q", Style::Bold).add(" quit  ").add("s", Style::Bold).add(" sort: ");
  line.add(to_string(view.sort));
  if (view.status.pid != 0) {
    line.add(
        "  showing " + std::to_string(shown) + " of " + counted(view.flows.open, "flow", "flows"),
        Style::Dim);
  }
  return line.take();
}

// Lines that are taken before the first row of flows, the titles included.
unsigned lines_before_rows(unsigned height) { return kHead + 2 * graph_height(height) + 3; }

}  // namespace

std::vector<std::string> sparkline(const std::vector<std::uint64_t>& values, unsigned width,
                                   unsigned rows, bool utf8) {
  const auto& levels = utf8 ? kBlocks : kAscii;
  const std::size_t count = std::min<std::size_t>(values.size(), width);
  const auto first = values.end() - static_cast<std::ptrdiff_t>(count);
  const std::uint64_t top = count == 0 ? 0 : *std::max_element(first, values.end());
  std::vector<std::string> lines(rows, std::string(width - count, ' '));
  for (auto at = first; at != values.end(); ++at) {
    const double share = top == 0 ? 0 : static_cast<double>(*at) / static_cast<double>(top);
    auto filled = static_cast<unsigned>(std::lround(share * 8 * rows));
    if (*at != 0 && filled == 0) filled = 1;  // something is more than nothing
    for (unsigned row = 0; row < rows; ++row) {
      const unsigned below = (rows - 1 - row) * 8;
      lines[row] += levels[filled <= below ? 0 : std::min(filled - below, 8u)];
    }
  }
  return lines;
}

unsigned flow_rows_shown(const WatchView& view, unsigned height) {
  const unsigned taken = lines_before_rows(height) + 1;  // the last line
  const unsigned room = height > taken ? height - taken : 0;
  return std::min(room, static_cast<unsigned>(view.rows.size()));
}

std::vector<ScreenLine> draw(const WatchView& view, unsigned width, unsigned height) {
  std::vector<ScreenLine> lines;
  draw_head(view, width, lines);
  unsigned shown = 0;
  if (view.status.pid != 0 && height > lines_before_rows(height)) {
    lines.emplace_back();
    draw_graph(view, width, graph_height(height), true, lines);
    draw_graph(view, width, graph_height(height), false, lines);
    lines.emplace_back();
    const Columns columns = columns_for(width);
    lines.push_back(titles(width, columns));
    shown = flow_rows_shown(view, height);
    for (unsigned i = 0; i < shown; ++i) {
      lines.push_back(flow_line(view.rows[i], width, columns));
    }
  }
  if (lines.size() >= height) lines.resize(height > 1 ? height - 1 : height);
  while (lines.size() + 1 < height) lines.emplace_back();
  if (height > 1) lines.push_back(footer(view, width, shown));
  return lines;
}

}  // namespace proxyvpn::app
