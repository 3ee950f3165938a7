#!/usr/bin/env python3
"""A terminal's screen as an SVG picture: text with its colours, as `tmux capture-pane -e -p` prints it.

  ansi_svg.py --title TEXT [--columns N] [--rows N] < captured > picture.svg

Lines longer than --columns (default: the longest) are an error, so that nothing is cut unseen.
"""
import argparse
import re
import sys
from html import escape

CHAR_WIDTH, LINE_HEIGHT, FONT_SIZE, MARGIN, TITLE_HEIGHT = 8.4, 18, 14, 14, 30
PAPER, INK, FRAME, TITLE_INK = "#11151c", "#d6dbe3", "#262d3a", "#97a1b3"
BASIC = ("#3b4252", "#f2777a", "#8fd18b", "#f0c674", "#7fb2f0", "#c99ee6", "#72cfd6", "#d6dbe3",
         "#6b7689", "#ff9a9c", "#aee5aa", "#ffdf9b", "#a5cbff", "#e0bdf7", "#9be7ed", "#ffffff")
SGR = re.compile(r"\x1b\[([0-9;:]*)m")
OTHER = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-ln-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>])|[\x00-\x08\x0b-\x1a\x7f]")


def palette(number):
    """Colour `number` of a terminal's 256."""
    if number < 16:
        return BASIC[number]
    if number < 232:
        number -= 16
        return "#" + "".join(f"{(0, 95, 135, 175, 215, 255)[part]:02x}" for part in
                             (number // 36, number // 6 % 6, number % 6))
    return "#" + f"{8 + (number - 232) * 10:02x}" * 3


class Style:
    """What is in force at one place of the screen."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.ink = self.paper = None
        self.bold = self.dim = self.reverse = self.underline = False

    def key(self):
        return (self.ink, self.paper, self.bold, self.dim, self.reverse, self.underline)

    def apply(self, codes):
        """One SGR sequence."""
        numbers = [int(code or 0) for code in codes.replace(":", ";").split(";")] if codes else [0]
        while numbers:
            number = numbers.pop(0)
            if number in (38, 48):
                colour = self._extended(numbers)
                if number == 38:
                    self.ink = colour
                else:
                    self.paper = colour
            else:
                self._simple(number)

    @staticmethod
    def _extended(numbers):
        kind = numbers.pop(0) if numbers else 0
        if kind == 5 and numbers:
            return palette(numbers.pop(0))
        if kind == 2 and len(numbers) >= 3:
            return "#" + "".join(f"{numbers.pop(0):02x}" for _ in range(3))
        return None

    def _simple(self, number):
        if number == 0:
            self.reset()
        elif number in (1, 2, 4, 7):
            setattr(self, {1: "bold", 2: "dim", 4: "underline", 7: "reverse"}[number], True)
        elif number in (22, 24, 27):
            for name in {22: ("bold", "dim"), 24: ("underline",), 27: ("reverse",)}[number]:
                setattr(self, name, False)
        elif 30 <= number <= 37 or 90 <= number <= 97:
            self.ink = palette(number - 30 if number < 90 else number - 82)
        elif 40 <= number <= 47 or 100 <= number <= 107:
            self.paper = palette(number - 40 if number < 100 else number - 92)
        elif number == 39:
            self.ink = None
        elif number == 49:
            self.paper = None


def runs(line, style):
    """(column, text, style key) for every stretch of one style in a line."""
    found, column, position = [], 0, 0
    for match in [*SGR.finditer(line), None]:
        text = OTHER.sub("", line[position:match.start() if match else len(line)])
        if text:
            found.append((column, text, style.key()))
            column += len(text)
        if match:
            style.apply(match[1])
            position = match.end()
    return found, column


def draw_run(row, column, text, key, out_paper, out_text):
    ink, paper, bold, dim, reverse, underline = key
    if reverse:
        ink, paper = paper or PAPER, ink or INK
    x, y = MARGIN + column * CHAR_WIDTH, TITLE_HEIGHT + MARGIN + row * LINE_HEIGHT
    width = len(text) * CHAR_WIDTH
    if paper:
        out_paper.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{LINE_HEIGHT}" fill="{paper}"/>')
    stripped = text.strip(" ")
    if not stripped:
        return
    x += (len(text) - len(text.lstrip(" "))) * CHAR_WIDTH
    look = f' fill="{ink}"' if ink else ""
    look += ' font-weight="bold"' if bold else ""
    look += ' opacity=".65"' if dim else ""
    look += ' text-decoration="underline"' if underline else ""
    # textLength: columns stay columns whatever font a reader has.
    out_text.append(f'<text x="{x:.1f}" y="{y + 13.5:.1f}" textLength="{len(stripped) * CHAR_WIDTH:.1f}"{look}>{escape(stripped)}</text>')


def picture(text, title, columns=None, rows=None):
    lines = text.rstrip("\n").split("\n")
    style, paper, ink, widest = Style(), [], [], 0
    for row, line in enumerate(lines):
        found, width = runs(line, style)
        widest = max(widest, width)
        for column, part, key in found:
            draw_run(row, column, part, key, paper, ink)
    columns, rows = columns or widest, rows or len(lines)
    if widest > columns or len(lines) > rows:
        raise SystemExit(f"ansi_svg: {widest}x{len(lines)} do not fit into {columns}x{rows}")
    width, height = 2 * MARGIN + columns * CHAR_WIDTH, TITLE_HEIGHT + 2 * MARGIN + rows * LINE_HEIGHT
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/><path d="M0 8a8 8 0 0 1 8-8h{width - 16:.0f}a8 8 0 0 1 8 8v{TITLE_HEIGHT - 8}H0z" fill="{FRAME}"/>',
        f'<text x="{MARGIN}" y="20" fill="{TITLE_INK}" font-family="sans-serif" font-size="13">{escape(title)}</text>',
        *paper,
        f'<g font-family="\'DejaVu Sans Mono\',Menlo,Consolas,\'Liberation Mono\',monospace" font-size="{FONT_SIZE}" fill="{INK}" xml:space="preserve">',
        *ink, "</g></svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--title", required=True)
    parser.add_argument("--columns", type=int)
    parser.add_argument("--rows", type=int)
    arguments = parser.parse_args()
    sys.stdout.write(picture(sys.stdin.read(), arguments.title, arguments.columns, arguments.rows))


if __name__ == "__main__":
    main()
