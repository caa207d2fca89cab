# SPDX-License-Identifier: MIT
"""The figures of the HTML page: which plots there are, and what is in them."""
from html import escape
from urllib.parse import quote

from . import intervals, metrics, plots, tables


def figure(title, svg, under=""):
    under = f' <span class="dim">{escape(under)}</span>' if under else ""
    return f"<figure><figcaption>{escape(title)}{under}</figcaption>{svg}</figure>"


def ident(*words):
    """An element's id; different words give different ones."""
    return "-".join(quote(str(w), safe="") for w in words)


def ratio_plots(results):
    out = []
    first = results["servers"][0]["name"]
    for s in results["servers"][1:]:
        for key in ("rps", "cpu_us", "p99", "cgroup", "pss"):
            metric = metrics.BY_KEY[key]
            rows = []
            for cell in results["cells"]:
                v = next(
                    (v for v in cell["verdicts"].get(s["name"], []) if v["metric"] == key), None
                )
                rows.append((f"{tables.cell_name(cell, results)} {cell['conns']}", v))
            if any(v for _, v in rows):
                under = f"{s['name']}/{first}"
                svg = plots.ratios(
                    ident("plot-ratio", key, s["name"]), f"{metric.label}, {under}", metric, rows
                )
                out.append(figure(metric.label, svg, under))
    return out


def typical(cell, name, metric, seed):
    """(value, low, high) of a metric over a server's starts; Nones where it has none."""
    values = [metric.value(s) for s in cell["slices"] if s["server"] == name]
    got = intervals.ratio_interval(values, seed)  # of any positive values
    return got["ratio"], got["low"], got["high"]


def series_of(cells, names, key, x, seed):
    """{server: [(x, value, low, high)]} for plots.against()."""
    metric = metrics.BY_KEY[key]
    return {n: [(c[x], *typical(c, n, metric, seed)) for c in cells] for n in names}


def by_connections(results, names):
    """CPU per request against connections, a plot for each profile; where a profile has one number
    of connections, its table says it all."""
    out = []
    for profile in dict.fromkeys(tables.cell_name(c, results) for c in results["cells"]):
        cells = [c for c in results["cells"] if tables.cell_name(c, results) == profile]
        if len({c["conns"] for c in cells}) < 2:
            continue
        title = f"{profile}: {metrics.BY_KEY['cpu_us'].label}"
        series = series_of(cells, names, "cpu_us", "conns", results["seed"])
        across = ("connections", lambda x: f"{x:,}")
        svg = plots.against(
            ident("plot-cpu", profile), title, series, across, ("µs/request", metrics.small_text)
        )
        out.append(figure(title, svg))
    return out


def by_rate(results, names):
    """Where a profile was run at several rates: CPU per request and latency against the rate."""
    out = []
    rated = [c for c in results["cells"] if c.get("rate")]
    for profile, conns in dict.fromkeys((c["profile"], c["conns"]) for c in rated):
        cells = [c for c in rated if (c["profile"], c["conns"]) == (profile, conns)]
        cells.sort(key=lambda c: c["rate"])
        if len({c["rate"] for c in cells}) < 2:
            continue
        for key in ("cpu_us", "p50", "p99"):
            label = metrics.BY_KEY[key].label
            title = f"{profile}, {conns} connections: {label} by rate"
            series = series_of(cells, names, key, "rate", results["seed"])
            up = ("µs/request", metrics.small_text) if key == "cpu_us" else (label, plots.time_short)
            across = ("requests/s offered", plots.short_number)
            svg = plots.against(
                ident("plot-rate", key, profile, conns), title, series, across, up, key != "cpu_us"
            )
            out.append(figure(title, svg))
    return out


def other_plots(results):
    names = [s["name"] for s in results["servers"]]
    out = by_connections(results, names) + by_rate(results, names)
    rows = [
        (f"{tables.cell_name(c, results)} {c['conns']}", {n: per_cpu_second(c, n) for n in names})
        for c in results["cells"]
    ]
    title = "requests per CPU-second of the server"
    out.append(figure(title, plots.efficiency("plot-efficiency", title, rows, names)))
    for profile in dict.fromkeys(tables.cell_name(c, results) for c in results["cells"]):
        cells = [c for c in results["cells"] if tables.cell_name(c, results) == profile]
        if cells[0].get("rate") and len(cells) == 1:
            continue  # one point more of what the closed loop's plot shows
        key = (
            "cgroup"
            if any(m.get("cgroup") for c in cells for m in c["medians"].values())
            else "pss"
        )
        series = {n: [(c["conns"], c["medians"].get(n, {}).get(key)) for c in cells] for n in names}
        title = f"{profile}: {metrics.BY_KEY[key].label}"
        out.append(figure(title, plots.memory(ident("plot-memory", profile), title, series)))
    for c in results["cells"]:
        title = f"latency: {tables.cell_head(c)}"
        curves = {n: c["latency"].get(n, {}) for n in names}
        svg = plots.latency(ident("plot-latency", tables.cell_name(c, results), c["conns"]), title, curves)
        out.append(figure(title, svg))
    return out


def per_cpu_second(cell, name):
    cpu = cell["medians"].get(name, {}).get("cpu_us")
    return 1e6 / cpu if cpu else None
