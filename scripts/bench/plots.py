# SPDX-License-Identifier: MIT
"""The report's plots: drawn by matplotlib, put into the page as SVG.

Each is PLOT_WIDTH units wide, about a phone's width, and scales up. Text stays text, in the page's
font. Colours are the page's own, named by style variables, so that the plots follow it into the
dark; series also differ by marker and by dash, verdicts by the side of 1 and by a filled marker.
matplotlib is imported by the first plot only; without it missing() says why there is none.
"""
import io
import logging
import re
import sys
import warnings
import xml.etree.ElementTree as ET

from . import tables

PLOT_WIDTH = 360
NAME_MAX = 24
LEGEND_LINE = 42  # letters that fit side by side,
BESIDE_LABELS = 26  # and where rows have labels beside the axis
LEGEND_HANDLE = 8  # letters that a line, its marker and the gaps take
LEGEND_HEIGHT = 15  # of a row of it
RATIO_MAX = 20.0
LOG_SPAN = 4  # a log axis that spans less than this factor gets evenly spaced ticks
LOG_SUBS = ((12, (1, 1.5, 2, 3, 5, 7)), (100, (1, 2, 5)), (1000, (1, 3)), (float("inf"), (1,)))
PERCENT_TICKS = ("50", "90", "99", "99.9", "99.99", "99.999")

# {style variable: (light, dark)}; no two light ones are the same: they are replaced by their names.
# Series and verdicts are from Okabe and Ito's palette, darkened or lightened for contrast.
PALETTE = {
    "fg": ("#1a1d21", "#e6e9ec"),
    "dim": ("#5c6570", "#9aa4af"),
    "line": ("#dfe3e8", "#333a42"),
    "card": ("#f6f7f9", "#1c2126"),
    "s0": ("#0072b2", "#56b4e9"),
    "s1": ("#c26a00", "#f0a030"),
    "s2": ("#8f4a86", "#d992c0"),
    "s3": ("#555b62", "#c3c9cf"),
    "s4": ("#8a6f00", "#e8d24a"),
    "s5": ("#a8325a", "#ff8fa8"),
    "good": ("#007358", "#2fc39b"),
    "bad": ("#b8400f", "#ff8f5c"),
    "none": ("#6b7480", "#9aa5b1"),
}
COLOURS = (
    ":root { color-scheme: light dark; --bg: #fff; "
    + "".join(f"--{n}: {light}; " for n, (light, _) in PALETTE.items())
    + "}\n@media (prefers-color-scheme: dark) { :root { --bg: #14171a; "
    + "".join(f"--{n}: {dark}; " for n, (_, dark) in PALETTE.items())
    + "} }"
)
VARIABLES = {light: f"var(--{name})" for name, (light, _) in PALETTE.items()}
SERIES = 6  # colours of series; with the markers' seven and four dashes, 84 look different
MARKERS, DASHES = "osD^vPX", ("-", "--", "-.", ":")
VERDICTS = {"faster": "good", "less": "good", "slower": "bad", "more": "bad"}


def colour(name):
    return PALETTE[name][0]


def missing():
    """Why there can be no plots, in one line; "" when there can."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # no news of its caches
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as e:
        return (
            f"no plots: {sys.executable} cannot import matplotlib"
            f" ({(str(e).strip() or 'ImportError').splitlines()[0]}); Debian's and Fedora's"
            " package for /usr/bin/python3 is python3-matplotlib"
        )
    return ""


def style(ident):
    """Settings over matplotlib's own defaults; nothing of the user's."""
    return {
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.h_pad": 0.03,
        "figure.constrained_layout.w_pad": 0.03,
        "figure.dpi": 72,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "axes.edgecolor": colour("line"),
        "axes.labelcolor": colour("dim"),
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "grid.color": colour("line"),
        "grid.linewidth": 1,
        "text.color": colour("fg"),
        "xtick.bottom": False,
        "ytick.left": False,
        "xtick.labelcolor": colour("dim"),
        "ytick.labelcolor": colour("dim"),
        "font.family": ["DejaVu Sans"],  # matplotlib's own, and wide: others fit into its place
        "font.size": 10.5,
        "lines.linewidth": 1.8,
        "lines.markersize": 6,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": ident,
    }


def draw(ident, label, height, paint):
    """The plot that paint(axes) makes, as an <svg> for the page."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style(ident))
        fig = Figure(figsize=(PLOT_WIDTH / 72, height / 72))
        paint(fig.add_subplot())
        file = io.StringIO()
        fig.savefig(file, format="svg", metadata={"Date": None})
    return inline(file.getvalue(), ident, label)


def inline(svg, ident, label):
    """A file's SVG as an element of a page: no prologue, metadata, style sheet or clipping; only
    the ids that are referred to; the page's colours; positions to a hundredth."""
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style", "clipPath"):
                parent.remove(child)
    used = {v[1:] for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")}
    for e in root.iter():
        e.tag = e.tag.rpartition("}")[2]
        for key in list(e.attrib):
            value = e.attrib.pop(key)
            key = key.rpartition("}")[2]
            if key == "clip-path" or key == "id" and value not in used:
                continue
            if key == "style":
                value = re.sub("#[0-9a-f]{6}", lambda m: VARIABLES.get(m[0], m[0]), value)
                value = value.replace(": ", ":").replace("; ", ";")
            elif key != "id":
                value = re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", value)
            e.set(key, value)
        e.tail = None
        if e.text and not e.text.strip():
            e.text = None
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib.update({"id": ident, "class": "plot", "role": "img"})
    root.set("aria-label", printable(label))
    return ET.tostring(root, encoding="unicode")


def standalone(svg):
    """A plot as a file of its own, for a page that is not ours: with the colours, in light and dark, and
    a ground to be read on."""
    root = ET.fromstring(svg)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("xmlns:xlink", "http://www.w3.org/1999/xlink")
    for e in root.iter():
        if "href" in e.attrib:
            e.set("xlink:href", e.attrib.pop("href"))
    style = ET.Element("style")
    style.text = COLOURS + " text { font-family: system-ui, sans-serif; }"
    root.insert(0, style)
    root.insert(1, ET.Element("rect", {"width": "100%", "height": "100%", "fill": "var(--bg)"}))
    return ET.tostring(root, encoding="unicode") + "\n"


def printable(words):
    return "".join(c for c in words if c.isprintable())


def shown(name):
    """A name as matplotlib is to show it: cut in the middle when too long, dollars no formula, a
    leading underscore no request to hide it."""
    name = printable(name)
    if len(name) > NAME_MAX:
        name = name[: NAME_MAX - 9] + "…" + name[-8:]
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def short_number(x):
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= limit * 0.9995:  # 999.6 would be rounded to 1e+03
            return f"{x / limit:.3g}{unit}"
    return f"{x:.3g}"


def time_short(us):
    for limit, unit in ((1e6, "s"), (1e3, "ms")):
        if us >= limit * 0.9995:
            return f"{us / limit:.3g} {unit}"
    return f"{us:.3g} µs"


def log_axis(axis, low, high, form):
    """A log scale with few, round ticks, however much or little it spans."""
    from matplotlib import ticker

    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    getattr(axis.axes, f"set_{axis.axis_name}lim")(low, high)
    if high / low < LOG_SPAN:
        axis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    else:
        subs = next(subs for span, subs in LOG_SUBS if high / low < span)
        axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=8))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: form(v)))
    axis.set_minor_locator(ticker.NullLocator())


def series_style(i):
    return {
        "color": colour(f"s{i % SERIES}"),
        "marker": MARKERS[i % len(MARKERS)],
        "linestyle": DASHES[i % len(DASHES)],
    }


def legend_columns(names, line):
    """As many names side by side as fit."""
    widths = sorted((len(shown(n)) + LEGEND_HANDLE for n in names), reverse=True)
    fit = [k for k in range(1, len(names) + 1) if sum(widths[:k]) <= line]
    return max(fit, default=1)


def legend_rows(names, line=LEGEND_LINE):
    return -(-len(names) // legend_columns(names, line))


def legend(ax, names, line=LEGEND_LINE, **style):
    """The series by name above the plot; `line`: letters that fit above it side by side."""
    handles = [ax.plot([], [], **{**series_style(i), **style})[0] for i in range(len(names))]
    ax.legend(
        handles,
        [shown(n) for n in names],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.1,
        ncol=legend_columns(names, line),
        handlelength=2.4,
        columnspacing=1.5,
    )


def row_label(ax, y, name, under):
    """What a row is, beside the axis, and its figures smaller below."""
    for words, va, dy, size, tone in (
        (name, "bottom", -1, 10.5, "fg"),
        (under, "top", -2, 9.5, "dim"),
    ):
        ax.annotate(
            words,
            (0, y),
            (-7, dy),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va=va,
            size=size,
            color=colour(tone),
        )


def rows_axis(ax, count):
    """Rows from the top down, without ticks of their own."""
    ax.set_ylim(count - 0.5, -0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def nothing(ident, title):
    def paint(ax):
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no figures", ha="center", va="center", color=colour("dim"))

    return draw(ident, f"{title}: no figures", 60, paint)


def ratios(ident, title, metric, rows):
    """The forest plot: a row for each profile and number of connections, with its interval.

    rows: [(label, verdict row)]; a row without an interval shows its point alone.
    """
    rows = [(label, v) for label, v in rows if v and v["ratio"]]
    if not rows:
        return nothing(ident, title)
    ends = [e for _, v in rows for e in (v["low"], v["ratio"], v["high"]) if e]
    low = max(min(ends + [0.99]), 1 / RATIO_MAX) / 1.015
    high = min(max(ends + [1.01]), RATIO_MAX) * 1.015
    inside = lambda v: min(max(v, low), high)

    def paint(ax):
        rows_axis(ax, len(rows))
        log_axis(ax.xaxis, low, high, lambda v: f"{v:.3g}")
        ax.set_xlabel("ratio, log scale")
        ax.axvline(1, color=colour("fg"), linewidth=1.2, zorder=1)
        for y, (label, v) in enumerate(rows):
            tone = colour(VERDICTS.get(v["verdict"], "none"))
            at = inside(v["ratio"])
            if v["low"]:
                ends = [inside(v["low"]), inside(v["high"])]
                ax.plot(ends, [y, y], color=tone, marker="|", markeredgewidth=1.5)
            ax.plot(
                at,
                y,
                linestyle="none",
                color=tone,
                marker="o" if at == v["ratio"] else "<" if at > v["ratio"] else ">",
                markerfacecolor=tone if v["verdict"] in VERDICTS else colour("card"),
                markeredgewidth=1.6,
                zorder=3,
            )
            row_label(ax, y, shown(label), tables.ratio_text(v))
        words = metric.words if metric.better == "low" else metric.words[::-1]
        for word, ha, dx in ((f"← {words[0]}", "right", -5), (f"{words[1]} →", "left", 5)):
            ax.annotate(
                word,
                (1, 1),
                (dx, 4),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha=ha,
                va="bottom",
                size=9.5,
                color=colour(VERDICTS[word.strip("← →")]),
            )

    told = "; ".join(f"{label} {tables.ratio_text(v)} {v['verdict']}" for label, v in rows)
    return draw(ident, f"{title}: {told}", 64 + 32 * len(rows), paint)


def latency(ident, title, curves):
    """curves: {server: {percent: us}}. Percentiles on a log scale of what they leave out, latency
    on a log scale."""
    names = list(curves)
    curves = {
        n: {
            p: us for p, us in sorted(c.items(), key=lambda x: float(x[0])) if us and float(p) < 100
        }
        for n, c in curves.items()
    }
    values = [us for c in curves.values() for us in c.values()]
    if not values:
        return nothing(ident, title)
    place = lambda p: 1 / (1 - float(p) / 100)
    last = max(place(p) for c in curves.values() for p in c)

    def paint(ax):
        log_axis(ax.yaxis, min(values) / 1.12, max(values) * 1.12, time_short)
        ax.set_xscale("log")
        ticks = [p for p in PERCENT_TICKS if place(p) <= last * 1.001]
        ax.set_xticks([place(p) for p in ticks], minor=False)
        ax.set_xticklabels([f"p{p}" for p in ticks])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("percentile of the requests")
        legend(ax, names)
        for i, c in enumerate(curves.values()):
            ax.plot([place(p) for p in c], list(c.values()), **series_style(i))

    told = "; ".join(
        f"{n} " + ", ".join(f"p{p} {time_short(us)}" for p, us in c.items() if p in PERCENT_TICKS)
        for n, c in curves.items()
    )
    return draw(ident, f"{title}: {told}", 195 + LEGEND_HEIGHT * legend_rows(names), paint)


def efficiency(ident, title, rows, names):
    """Points on a log scale: profiles differ tenfold. rows: [(label, {server: value})]."""
    rows = [(label, v) for label, v in rows if any(v.get(n) for n in names)]
    if not rows:
        return nothing(ident, title)
    values = [v[n] for _, v in rows for n in names if v.get(n)]
    figures = lambda v: [short_number(v[n]) if v.get(n) else "-" for n in names]

    def paint(ax):
        rows_axis(ax, len(rows))
        log_axis(ax.xaxis, min(values) / 1.15, max(values) * 1.15, short_number)
        ax.set_xlabel("requests/CPU-second, log scale")
        legend(ax, names, BESIDE_LABELS, linestyle="none")
        for y, (label, v) in enumerate(rows):
            ax.axhline(y, color=colour("line"), linewidth=1, zorder=1)
            for i, n in enumerate(names):
                if v.get(n):
                    aside = (i - (len(names) - 1) / 2) * 0.18  # equal ones stay visible
                    ax.plot(v[n], y + aside, **series_style(i))
            row_label(ax, y, shown(label), " | ".join(figures(v)))

    told = "; ".join(
        f"{label} " + ", ".join(f"{n} {x}" for n, x in zip(names, figures(v))) for label, v in rows
    )
    height = 57 + 32 * len(rows) + LEGEND_HEIGHT * legend_rows(names, BESIDE_LABELS)
    return draw(ident, f"{title}: {told}", height, paint)


def apart(values, most=6):
    """The values of an ascending list that can all be labelled on a log axis: the last always."""
    out = []
    for v in reversed(values):
        if not out or out[-1] / v >= (values[-1] / values[0]) ** (1 / most) * 0.999:
            out.append(v)
    return out[::-1]


def against(ident, title, series, across, up, log=False):
    """A quantity against connections or a rate, on a log scale.

    series: {name: [(x, y, low, high)]}, low and high None without an interval. across: (label of
    the axis, number -> text); up: (label, number -> text), from 0 or, with `log`, on a log scale.
    """
    names = list(series)
    series = {n: [p for p in pts if p[1] is not None] for n, pts in series.items()}
    points = [p for pts in series.values() for p in pts]
    if not points:
        return nothing(ident, title)
    heights = [v for p in points for v in p[1:] if v is not None]

    def paint(ax):
        from matplotlib import ticker

        ax.set_xscale("log")
        xs = apart(sorted({p[0] for p in points}))
        ax.set_xticks(xs, minor=False)
        ax.set_xticklabels([across[1](x) for x in xs])
        ax.set_xticks([], minor=True)
        ax.set_xlabel(across[0])
        if log:
            log_axis(ax.yaxis, min(heights) / 1.12, max(heights) * 1.12, up[1])
        else:
            ax.set_ylim(0, max(heights) * 1.08)
            ax.yaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
            ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:.3g}"))
        ax.set_ylabel(up[0])
        legend(ax, names)
        for i, pts in enumerate(series.values()):
            # Side by side: intervals at one place would cover each other.
            aside = 1.025 ** (i - (len(names) - 1) / 2) if any(p[2] for p in points) else 1
            ax.plot([p[0] * aside for p in pts], [p[1] for p in pts], **series_style(i))
            for x, _, low, high in pts:
                if low is not None:
                    tone = colour(f"s{i % SERIES}")
                    ends = {"marker": "_", "markersize": 7, "markeredgewidth": 1.5}
                    ax.plot([x * aside] * 2, [low, high], color=tone, linewidth=1.3, **ends)

    told = "; ".join(
        f"{n} "
        + ", ".join(
            f"{up[1](y)}"
            + (f" [{up[1](low)}, {up[1](high)}]" if low is not None else "")
            + f" at {across[1](x)}"
            for x, y, low, high in pts
        )
        for n, pts in series.items()
    )
    return draw(ident, f"{title}: {told}", 175 + LEGEND_HEIGHT * legend_rows(names), paint)


def memory(ident, title, series):
    """series: {name: [(connections, MiB)]}; connections on a log scale, memory from 0."""
    series = {n: [(x, y, None, None) for x, y in pts] for n, pts in series.items()}
    return against(
        ident,
        title,
        series,
        ("connections", lambda x: f"{x:,}"),
        ("MiB", lambda y: f"{y:.2f} MiB"),
    )
