"""scripts/ansi_svg.py draws what a terminal shows; every picture is shown somewhere, and every one shown is there."""
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "scripts"))
sys.dont_write_bytecode = True
import ansi_svg  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text, **options):
    """[(x, text, attributes)] of a screen, without the title."""
    root = xml.fromstring(ansi_svg.picture(text, "title", **options))
    return [(float(t.get("x")), t.text, t.attrib) for t in root.iter(SVG + "text")][1:], root


def test_colours_and_columns():
    texts, _ = drawn("plain \x1b[1;32mgreen\x1b[0m  \x1b[38;5;208mo\x1b[39m\x1b[2mdim\x1b[22m <&>\n")
    assert [t[1] for t in texts] == ["plain", "green", "o", "dim", "<&>"], texts
    columns = [round((t[0] - ansi_svg.MARGIN) / ansi_svg.CHAR_WIDTH) for t in texts]
    assert columns == [0, 6, 13, 14, 18], columns
    green, orange, dim = texts[1][2], texts[2][2], texts[3][2]
    assert green["fill"] == ansi_svg.BASIC[2] and green["font-weight"] == "bold", green
    assert orange["fill"] == "#ff8700" and "opacity" in dim and "fill" not in dim, (orange, dim)


def test_reverse_and_true_colour():
    texts, root = drawn("\x1b[7m ab \x1b[27m\x1b[48;2;1;2;3mc\n")
    papers = [r.get("fill") for r in root.iter(SVG + "rect")][1:]
    assert papers == [ansi_svg.INK, "#010203"], papers
    assert texts[0][1] == "ab" and texts[0][2]["fill"] == ansi_svg.PAPER, texts


def test_other_sequences_are_dropped():
    texts, _ = drawn("\x1b]0;title\x07\x1b[?25la\x1b[Kb\x1b(B\n")
    assert [t[1] for t in texts] == ["ab"], texts


def test_what_does_not_fit_is_an_error():
    for options in ({"columns": 3}, {"rows": 1}):
        try:
            drawn("abcd\nx\n", **options)
        except SystemExit:
            continue
        raise AssertionError(f"{options}: cut unseen")


def test_every_picture_is_shown_and_there():
    pages = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
    shown = set()
    for page in pages:
        for link in re.findall(r"[(\"]((?:docs/)?img/[a-z]+\.svg)[)\"]", page.read_text(encoding="utf-8")):
            shown.add((page.parent / link).resolve())
    there = {path.resolve() for path in (TOP / "docs/img").iterdir()}
    assert shown == there, f"shown and missing: {sorted(map(str, shown - there))}; there and not shown: {sorted(map(str, there - shown))}"
    for path in there:
        xml.parse(path)
        assert path.stat().st_size < 40_000, f"{path.name} is large"


if __name__ == "__main__":
    for name, test in sorted(globals().copy().items()):
        if name.startswith("test_"):
            test()
            print("passed", name)
