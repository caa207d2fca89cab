# SPDX-License-Identifier: MIT
"""The report's plots, as inline SVG: no library, no script, colours from the page's style sheet,
readable on a phone.

Every plot is drawn 360 units wide, about a phone's width, and scales up. Series are told apart by
colour and by shape.
"""
import math
from html import escape

WIDTH = 360
TITLE_EM = 6.7  # about a letter's width in a heading
NAME_MAX = 22
PERCENT_TICKS = ("50", "90", "99", "99.9", "99.99")


class Svg:
    """Collects elements; finish() gives the whole."""

    def __init__(self, ident, label, height, width=WIDTH):
        self.ident, self.label, self.height, self.width = ident, label, height, width
        self.parts = []

    def line(self, x1, y1, x2, y2, cls):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{cls}"/>'
        )

    def rect(self, x, y, w, h, cls, title=""):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0):.1f}" height="{h:.1f}" class="{cls}">'
            f"{tip(title)}</rect>"
        )

    def text(self, x, y, words, cls="", anchor="start"):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
            f' class="{cls}">{escape(words)}</text>'
        )

    def title(self, words, under=""):
        """The heading, squeezed where it is too long, and a smaller line under it."""
        room = self.width - 8
        squeeze = (
            f' textLength="{room}" lengthAdjust="spacingAndGlyphs"'
            if len(words) * TITLE_EM > room
            else ""
        )
        self.parts.append(f'<text x="4" y="14" class="ttl"{squeeze}>{escape(words)}</text>')
        if under:
            self.text(4, 28, under, "tick")

    def path(self, points, cls):
        d = " ".join(f"{'M' if i == 0 else 'L'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
        self.parts.append(f'<path d="{d}" class="{cls}"/>')

    def mark(self, x, y, series, cls, title=""):
        """A point: circle, square, diamond by series."""
        if series % 3 == 0:
            shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6"'
        elif series % 3 == 1:
            shape = f'<rect x="{x - 3.3:.1f}" y="{y - 3.3:.1f}" width="6.6" height="6.6"'
        else:
            shape = f'<path d="M{x:.1f} {y - 4.5:.1f} l4.5 4.5 l-4.5 4.5 l-4.5 -4.5 z"'
        self.parts.append(f'{shape} class="{cls}">{tip(title)}</{shape[1:shape.index(" ")]}>')

    def finish(self):
        return (
            f'<svg id="{escape(self.ident)}" class="plot" viewBox="0 0'
            f' {self.width} {self.height:.0f}" role="img" aria-label="{escape(self.label)}">'
            + "".join(self.parts)
            + "</svg>"
        )


def tip(title):
    return f"<title>{escape(title)}</title>" if title else ""


def log_ticks(low, high, most=6):
    """1, 2, 5 x 10^k within [low, high]; fewer of the mantissas when there would be too many."""
    for mantissas in ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [
            m * 10.0**k
            for k in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            for m in mantissas
            if low * 0.999 <= m * 10.0**k <= high * 1.001
        ]
        if len(ticks) <= most:
            break
    return ticks


def linear_ticks(high, most=5):
    """0 to at least high in round steps."""
    if high <= 0:
        return [0, 1]
    step = 10 ** math.floor(math.log10(high / most))
    for factor in (1, 2, 5, 10, 20):
        if high / (step * factor) <= most:
            step *= factor
            break
    return [i * step for i in range(math.ceil(high / step - 1e-9) + 1)]


def ratio_ticks(low, high, most=6):
    """Round ratios around 1, at most so many."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5):
        ticks = [
            round(1 + i * step, 4)
            for i in range(-60, 61)
            if low <= 1 + i * step <= high and 1 + i * step > 0
        ]
        if len(ticks) <= most:
            return ticks
    return log_ticks(low, high, most)


def scale(low, high, start, end, log=False):
    """A function from values to positions."""
    f = math.log if log else float
    a, b = f(low), f(high)
    return lambda v: start + (f(v) - a) / ((b - a) or 1) * (end - start)


def short_number(x):
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= limit:
            return f"{x / limit:.3g}{unit}"
    return f"{x:.3g}"


def time_short(us):
    return (
        f"{us:.3g} µs" if us < 1000 else f"{us / 1000:.3g} ms" if us < 1e6 else f"{us / 1e6:.3g} s"
    )


def legend(svg, names, x, y):
    for i, name in enumerate(names):
        name = name if len(name) <= NAME_MAX else name[: NAME_MAX - 1] + "…"
        svg.mark(x + 5, y - 4, i, f"s{i % 3} fill")
        svg.text(x + 13, y, name, "lab")
        x += 24 + 6.3 * len(name)


def ratios(ident, title, under, rows):
    """The forest plot. rows: [(label, verdict row)]; a row without an interval shows its point
    alone."""
    rows = [(label, v) for label, v in rows if v and v["ratio"]]
    left, right, top, step = 122, WIDTH - 14, 36, 30
    height = top + step * len(rows) + 20
    svg = Svg(ident, title, height)
    svg.title(title, under)
    if not rows:
        svg.text(4, 34, "no figures", "lab")
        return svg.finish()
    ends = [
        e for _, v in rows for e in (v["low"] or v["ratio"], v["high"] or v["ratio"], v["ratio"])
    ]
    reach = min(max(max(ends), 1 / min(ends), 1.02) * 1.01, 20.0)
    low, high = (0.98 / reach if min(ends) < 0.99 else 0.985), (
        reach * 1.02 if max(ends) > 1.01 else 1.015
    )
    at = scale(low, high, left, right, log=True)
    clamp = lambda v: at(min(max(v, low), high))
    bottom = top + step * len(rows)
    for t in ratio_ticks(low, high):
        svg.line(at(t), top, at(t), bottom, "one" if t == 1 else "grid")
        svg.text(at(t), bottom + 13, f"{t:g}", "tick", "middle")
    for i, (label, v) in enumerate(rows):
        y = top + step * i + step / 2
        cls = {"faster": "good", "less": "good", "slower": "bad", "more": "bad"}.get(
            v["verdict"], "none"
        )
        about = f"{label}: {v['ratio']:.3f}"
        if v["low"]:
            svg.line(clamp(v["low"]), y, clamp(v["high"]), y, f"bar {cls}")
            about += f" [{v['low']:.3f}, {v['high']:.3f}]"
        svg.mark(clamp(v["ratio"]), y, 0, f"{cls} fill", f"{about}, {v['verdict']}")
        svg.text(4, y - 1, label, "lab")
        svg.text(4, y + 11, v["verdict"], f"tick {cls}t")
    return svg.finish()


def latency(ident, title, curves):
    """curves: {server: {percent: us}}. Percentiles on a log scale of what they leave out, latency
    on a log scale."""
    curves = {n: {p: us for p, us in c.items() if us and float(p) >= 10} for n, c in curves.items()}
    curves = {n: c for n, c in curves.items() if c}
    left, right, top, bottom = 52, WIDTH - 12, 40, 190
    svg = Svg(ident, title, 224)
    svg.title(title)
    if not curves:
        svg.text(4, 34, "no figures", "lab")
        return svg.finish()
    legend(svg, list(curves), 4, 31)
    values = [us for c in curves.values() for us in c.values()]
    low, high = min(values) * 0.9, max(values) * 1.1
    place = lambda p: -math.log10(1 - float(p) / 100)
    last = max(place(p) for c in curves.values() for p in c)
    x, y = scale(place("10"), last, left, right), scale(low, high, bottom, top, log=True)
    for t in log_ticks(low, high) or [low, high]:
        svg.line(left, y(t), right, y(t), "grid")
        svg.text(left - 5, y(t) + 4, time_short(t), "tick", "end")
    for p in PERCENT_TICKS:
        if place(p) <= last + 1e-9:
            svg.line(x(place(p)), top, x(place(p)), bottom, "grid")
            svg.text(min(x(place(p)), right - 10), bottom + 14, f"p{p}", "tick", "middle")
    svg.text((left + right) / 2, bottom + 29, "percentile", "tick", "middle")
    for i, (name, c) in enumerate(curves.items()):
        points = [(x(place(p)), y(c[p])) for p in sorted(c, key=float)]
        svg.path(points, f"s{i % 3} curve")
        for p, (px, py) in zip(sorted(c, key=float), points):
            svg.mark(px, py, i, f"s{i % 3} fill", f"{name} p{p}: {time_short(c[p])}")
    return svg.finish()


def bars(ident, title, rows, names):
    """Horizontal bars from 0. rows: [(label, {server: value})]."""
    rows = [(label, v) for label, v in rows if any(v.get(n) for n in names)]
    thick, left, right, top = 13, 108, WIDTH - 50, 40
    step = thick * len(names) + 12
    height = top + step * len(rows) + 6
    svg = Svg(ident, title, height)
    svg.title(title)
    legend(svg, names, 4, 31)
    most = max((v.get(n) or 0 for _, v in rows for n in names), default=1)
    x = scale(0, most, left, right)
    for i, (label, v) in enumerate(rows):
        y = top + step * i
        svg.text(4, y + (thick * len(names)) / 2 + 4, label, "lab")
        for k, n in enumerate(names):
            if v.get(n):
                svg.rect(
                    left,
                    y + thick * k,
                    x(v[n]) - left,
                    thick - 2,
                    f"s{k % 3} fill",
                    f"{label}, {n}: {v[n]:,.0f}",
                )
                svg.text(x(v[n]) + 4, y + thick * k + 10, short_number(v[n]), "tick")
    return svg.finish()


def lines(ident, title, series, x_label, y_label):
    """series: {name: [(x, y)]}; x on a log scale, y from 0."""
    series = {n: [(a, b) for a, b in pts if b is not None] for n, pts in series.items()}
    series = {n: pts for n, pts in series.items() if pts}
    left, right, top, bottom = 46, WIDTH - 16, 40, 180
    svg = Svg(ident, title, 216)
    svg.title(title)
    if not series:
        svg.text(4, 34, "no figures", "lab")
        return svg.finish()
    legend(svg, list(series), 4, 31)
    xs = sorted({a for pts in series.values() for a, _ in pts})
    ticks = linear_ticks(max(b for pts in series.values() for _, b in pts))
    low, high = (xs[0], xs[-1]) if len(xs) > 1 else (xs[0] / 2, xs[0] * 2)
    x, y = scale(low, high, left + 8, right - 8, log=True), scale(0, ticks[-1], bottom, top)
    for t in ticks:
        svg.line(left, y(t), right, y(t), "grid")
        svg.text(left - 5, y(t) + 4, f"{t:g}", "tick", "end")
    for t in xs:
        svg.text(x(t), bottom + 14, f"{t:g}", "tick", "middle")
    svg.text((left + right) / 2, bottom + 29, f"{x_label}; {y_label}", "tick", "middle")
    for i, (name, pts) in enumerate(series.items()):
        placed = [(x(a), y(b)) for a, b in pts]
        svg.path(placed, f"s{i % 3} curve")
        for (a, b), (px, py) in zip(pts, placed):
            svg.mark(px, py, i, f"s{i % 3} fill", f"{name}, {a:g}: {b:.2f}")
    return svg.finish()
