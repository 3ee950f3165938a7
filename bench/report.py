"""A run's figures as Markdown tables and an SVG plot."""
import statistics

YARDSTICK, IDEAL = "direct", "redirect-splice"
COLOURS = ("#888888", "#4c72b0", "#c44e52", "#55a868", "#8172b2", "#937860", "#da8bc3", "#ccb974")


class Figures:
    """Every figure of a record by product, over the rounds."""

    def __init__(self, record):
        self.rounds = record["rounds"]
        self.products = list(record["notes"])

    def values(self, product, key):
        return [r[product][key] for r in self.rounds if product in r and r[product].get(key) is not None]

    def ratios(self, product, key, base_product, base_key=None):
        """One ratio per round in which both were measured: side by side, not median by median."""
        pairs = [(r.get(product, {}).get(key), r.get(base_product, {}).get(base_key or key)) for r in self.rounds]
        return [a / b for a, b in pairs if a is not None and b]

    def has(self, prefix):
        return any(key.startswith(prefix) for r in self.rounds for figures in r.values() for key in figures)

    def levels(self):
        keys = {key.split(".")[1] for r in self.rounds for figures in r.values() for key in figures if key.startswith("held.")}
        return sorted(int(k) for k in keys)


def median(values):
    return statistics.median(values) if values else None


def spread(values, digits=2, scale=1.0):
    """median (least..most)"""
    if not values:
        return "-"
    middle, least, most = (f"{x * scale:.{digits}f}" for x in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({least}..{most})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def _rows(f, *columns):
    """One row per product that has any of the figures."""
    rows = [[name, *(column(name) for column in columns)] for name in f.products]
    return [row for row in rows if any(cell != "-" for cell in row[1:])]


def _plain(f, key, digits=2, scale=1.0):
    return lambda name: spread(f.values(name, key), digits, scale)


def _times(f, key, base, digits=2):
    return lambda name: spread(f.ratios(name, key, base), digits)


def _within(f, key, base_key, digits=2):
    """A product's figure over another one of its own."""
    return lambda name: spread(f.ratios(name, key, name, base_key), digits)


def bulk_tables(f):
    out = []
    for label, title in (("down1", "one stream down"), ("up1", "one stream up"), ("down16", "16 streams down"), ("up16", "16 streams up")):
        key = f"bulk.{label}"
        out.append(f"### Bulk, {title}\n\n" + table(
            ["", "Gbit/s", "x direct", "x redirect-splice", "CPU-s/GiB, product", "CPU-s/GiB, machine"],
            _rows(f, _plain(f, f"{key}.gbps"), _times(f, f"{key}.gbps", YARDSTICK), _times(f, f"{key}.gbps", IDEAL),
                  _plain(f, f"{key}.cpu"), _plain(f, f"{key}.machine"))))
    return out


def small_tables(f):
    out = []
    if f.has("latency."):
        out.append("### Connect and one byte there and back\n\n" + table(
            ["", "p50 us", "p99 us", "p50 x direct", "p99 x direct"],
            _rows(f, _plain(f, "latency.p50", 0), _plain(f, "latency.p99", 0), _times(f, "latency.p50", YARDSTICK), _times(f, "latency.p99", YARDSTICK))))
    if f.has("rate."):
        out.append("### Short connections, 64 at a time\n\n" + table(
            ["", "per second", "x direct", "CPU us each, product", "failed"],
            _rows(f, _plain(f, "rate.per_second", 0), _times(f, "rate.per_second", YARDSTICK), _plain(f, "rate.cpu_us", 0), _plain(f, "rate.errors", 0))))
    if f.has("start."):
        out.append("### Start and stop\n\n" + table(
            ["", "start to first byte, ms", "stop, ms", "RSS when idle, MiB"],
            _rows(f, _plain(f, "start.first_byte_ms", 1), _plain(f, "start.stop_ms", 0), _plain(f, "start.rss_mib", 1))))
    if f.has("fairness."):
        columns = []
        for way in ("down", "up"):
            columns += [_plain(f, f"fairness.{way}.p99", 0), _within(f, f"fairness.{way}.p99", "fairness.idle.p99", 1), _plain(f, f"fairness.{way}.least_share")]
        out.append("### Fairness: connect and echo while 16 bulk streams run\n\n" + table(
            ["", "idle p99 us", "p99 us, down", "x idle", "smallest share, down", "p99 us, up", "x idle", "smallest share, up"],
            _rows(f, _plain(f, "fairness.idle.p99", 0), *columns)) + "\nSmallest share: the slowest of the 16 streams over their average.\n")
    return out


def pair_table(f, prefix, title, first, second):
    columns = []
    for key in ("down1.gbps", "up1.gbps", "p50", "p99"):
        columns += [_within(f, f"{prefix}.other.{key}", f"{prefix}.base.{key}")]
    return [f"### {title}\n\n" + table(["", "one stream down", "one stream up", "p50", "p99"], _rows(f, *columns))
            + f"\n{second} as a multiple of {first}, one right behind the other.\n"] if f.has(prefix) else []


def held_tables(f):
    out = []
    for name in f.products:
        rows = []
        for level in f.levels():
            key = f"held.{level}"
            opened = f.values(name, f"{key}.opened")
            if level and not opened:
                continue
            rows.append([level if level else "none", spread(opened, 0) if level else "-"] + [
                spread(f.values(name, f"{key}.{k}"), d, s) for k, d, s in
                (("open_us", 0, 1), ("open_cpu_us", 0, 1), ("rss_each", 2, 1 / 1024), ("idle_cpu", 1, 1), ("touch_p99", 0, 1))] + [
                    spread(f.ratios(name, f"{key}.{k}", name, f"held.0.{k}")) if level else spread(f.values(name, f"{key}.{k}"), d)
                    for k, d in (("gbps", 2), ("p50", 0), ("p99", 0))])
        if rows:
            out.append(f"### Held connections: {name}\n\n" + table(
                ["held", "opened", "us to open one", "CPU us to open one, product", "RSS KiB each", "idle CPU %", "echo on a held one, p99 us",
                 "one stream down", "new connection p50", "new connection p99"], rows))
    if out:
        out.append("The last three columns: Gbit/s and microseconds with none held, and multiples of that below.\n")
    return out


def markdown(record):
    f, run = Figures(record), record["run"]
    disturbed = max((max(f.values(name, "foreign"), default=0) for name in f.products), default=0)
    head = [f"Measured {run['when']}: Linux {run['kernel']}, {run['cores']} cores ({run['cpu']}), TCP congestion control {run['congestion']}, "
            f"{run['descriptors']} descriptors per process, {len(record['rounds'])} rounds in {run.get('seconds', 0):.0f} s, `{run['command'].strip()}`. "
            f"Load average {run['load_before']:.1f} before and {run.get('load_after', 0):.1f} after; other work took up to {disturbed:.0%} of the CPUs "
            f"during a product's turn; {run.get('dropped', 0)} packets found a CPU's backlog full (each may cost a flow 200 ms). Cells: median (least..most) over the rounds; ratios are taken within each round.\n"]
    if disturbed > 0.1:
        head.append("**Other work disturbed this run: its figures are not fit to be compared.**\n")
    if run["quick"]:
        head.append("**A quick run: it shows that everything works, its figures are rough.**\n")
    body = (bulk_tables(f) if f.has("bulk.") else []) + small_tables(f)
    body += pair_table(f, "forward", "Forwarded: a machine behind the client host", "local connections", "Forwarded ones")
    body += pair_table(f, "ipv6", "IPv6", "IPv4", "IPv6") + held_tables(f)
    notes = "\n".join(f"* {name}: {text}" for name, text in record["notes"].items()) + "\n"
    failures = [f"* {name}, {part}: {text.splitlines()[0]}" for name, parts in record["failures"].items() for part, text in parts.items()]
    if failures:
        body.append("### What could not be measured\n\n" + "\n".join(failures) + "\n")
    return "\n".join(head + [notes] + body)


# -- plot ------------------------------------------------------------------------------------------

def _text(x, y, text, size=11, anchor="middle", colour="#222"):
    safe = str(text).replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{safe}</text>'


def _bars(f, x, y, width, height):
    """Bulk and connection rate as multiples of direct."""
    groups = [(label, f"bulk.{label}.gbps") for label in ("down1", "up1", "down16", "up16")] + [("short conn/s", "rate.per_second")]
    groups = [(label, key) for label, key in groups if f.has(key)]
    heights = {(n, k): median(f.ratios(n, k, YARDSTICK)) for n in f.products for _, k in groups}
    top = max([v for v in heights.values() if v] + [1.0]) * 1.05
    out = [_text(x + width / 2, y - 10, "x direct (more is better)", 13)]
    for i in range(5):
        level = y + height - height * i / 4
        out += [f'<line x1="{x}" y1="{level:.1f}" x2="{x + width}" y2="{level:.1f}" stroke="#ddd"/>', _text(x - 6, level + 4, f"{top * i / 4:.2f}", 10, "end")]
    group = width / max(1, len(groups))
    for g, (label, key) in enumerate(groups):
        bar = group * 0.8 / len(f.products)
        for p, name in enumerate(f.products):
            value = heights[name, key]
            if value:
                tall = height * value / top
                out.append(f'<rect x="{x + g * group + group * 0.1 + p * bar:.1f}" y="{y + height - tall:.1f}" width="{bar * 0.92:.1f}" height="{tall:.1f}" '
                           f'fill="{COLOURS[p % len(COLOURS)]}"><title>{name} {label}: {value:.2f}</title></rect>')
        out.append(_text(x + (g + 0.5) * group, y + height + 16, label))
    return out


def _lines(f, x, y, width, height, figure, title):
    """A figure with N connections held as a multiple of the same with none."""
    levels = [level for level in f.levels() if level]
    out = [_text(x + width / 2, y - 10, title, 13)]
    if not levels:
        return out
    points = {n: [(i, median(f.ratios(n, f"held.{l}.{figure}", n, f"held.0.{figure}"))) for i, l in enumerate(levels)] for n in f.products}
    top = max([v for row in points.values() for _, v in row if v] + [1.0]) * 1.1
    step = width / max(1, len(levels) - 1)
    for i in range(5):
        level = y + height - height * i / 4
        out += [f'<line x1="{x}" y1="{level:.1f}" x2="{x + width}" y2="{level:.1f}" stroke="#ddd"/>', _text(x - 6, level + 4, f"{top * i / 4:.2f}", 10, "end")]
    for p, name in enumerate(f.products):
        row = [(x + i * step, y + height - height * v / top) for i, v in points[name] if v]
        if row:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in row)
            out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[p % len(COLOURS)]}" stroke-width="2"/>')
            out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{COLOURS[p % len(COLOURS)]}"/>' for a, b in row]
    return out + [_text(x + i * step, y + height + 16, f"{level:,}") for i, level in enumerate(levels)]


def svg(record):
    f = Figures(record)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="960" height="700" viewBox="0 0 960 700" font-family="sans-serif">',
           '<rect width="960" height="700" fill="white"/>']
    for p, name in enumerate(f.products):
        x = 60 + (p % 6) * 145
        y = 14 + (p // 6) * 18
        out += [f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[p % len(COLOURS)]}"/>', _text(x + 17, y + 10, name, 11, "start")]
    out += _bars(f, 60, 80, 860, 240)
    out += _lines(f, 60, 400, 390, 230, "gbps", "one stream down, x none held")
    out += _lines(f, 530, 400, 390, 230, "p99", "connect + echo p99, x none held (less is better)")
    out += [_text(480, 685, f"held connections | {record['run']['when']}, Linux {record['run']['kernel']}, {record['run']['cores']} cores, {len(record['rounds'])} rounds", 11)]
    return "\n".join(out + ["</svg>\n"])
