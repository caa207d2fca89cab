# SPDX-License-Identifier: MIT
"""The HTML page: self-contained, every plot there, and opened in headless Chromium where there is
one."""
import copy
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from conftest import SCRIPTS, bench

from bench import metrics, plots, report, text

needs_matplotlib = pytest.mark.skipif(
    not importlib.util.find_spec("matplotlib"),
    reason="matplotlib is not installed (Debian: apt install python3-matplotlib)",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def made_up_slice(server, pair, rps, conns):
    return {
        "server": server,
        "pair": pair,
        "order": 0,
        "window_s": 1.0,
        "requests": rps,
        "rps": float(rps),
        "own_rps": float(rps),
        "bytes_per_response": 103.0,
        "bytes_per_s": 103.0 * rps,
        "errors": {"read": 0},
        "reconnects": 7,
        "cpu_us": 9e5 / rps,
        "user_us": 3e5 / rps,
        "system_us": 6e5 / rps,
        "latency_us": {
            "50": 4e6 * conns / rps / 4,
            "90": 6e6 * conns / rps / 4,
            "99": 9e6 * conns / rps / 4,
            "99.9": 2e7 * conns / rps / 4,
            "100": 9e7,
        },
        "switches": 0.02,
        "pss_bytes": 3_000_000 + 400 * conns,
        "cgroup": {
            "used": 4_000_000 + 4500 * conns,
            "anon": 1 << 20,
            "sock": 0,
            "slab": None,
            "kernel": 2 << 20,
        },
        "server_cpus": 0.95,
        "load_cpus": 0.97,
        "tool_cpus": 0.02,
        "foreign_cpus": 0.0,
        "steal_cpus": 0.0,
        "bottleneck": "generator",
        "rate_met": None,
        "all_connected": True,
        "redone": 0,
        "disturbed": False,
        "problems": [],
    }


def made_up_results():
    """A comparison as the tool writes it, with names that would break a careless page."""
    names = ["libev", 'io_<uring>&"x"']
    cells = []
    for profile in ("baseline", "pipelined"):
        for conns in (64, 512):
            slices = [
                made_up_slice(n, i, (100000 + 900 * i) * (1.07 if n != "libev" else 1), conns)
                for i in range(6)
                for n in names
            ]
            cells.append(
                metrics.sum_up(
                    {
                        "profile": profile,
                        "conns": conns,
                        "rate": None,
                        "slices": slices,
                        "failed": None,
                        "stopped": "pairs",
                    },
                    names,
                    1,
                )
            )
    cells.append(
        metrics.sum_up(
            {
                "profile": "json",
                "conns": 64,
                "rate": None,
                "slices": [],
                "failed": "it <b>died</b>",
                "stopped": None,
            },
            names,
            1,
        )
    )
    machine = {
        "cpu": "A CPU",
        "cpus": 2,
        "cpus_allowed": [0, 1],
        "virtual": True,
        "memory_mib": 100,
        "kernel": "6.1",
        "machine": "x86_64",
        "distribution": "A Linux",
        "mitigations": {"a": "b"},
        "governor": "none",
        "turbo_off": False,
        "transparent_hugepages": "",
        "clocksource": "tsc",
        "io_uring_disabled": "0",
        "somaxconn": "4096",
        "load_average": ["0", "0", "0"],
    }
    return {
        "schema": 1,
        "command": "compare",
        "argv": ["bivalve-bench", "compare"],
        "begun": "2026-01-01T00:00:00+0000",
        "ended": "2026-01-01T00:01:00+0000",
        "interrupted": False,
        "machine": machine,
        "generator": {"name": "wrk", "version": "4.1", "notes": ["a note"], "server_closes": True},
        "server_cpus": [0],
        "load_cpus": [1],
        "workers": 1,
        "cgroup_version": 1,
        "seconds": 1,
        "pairs_wanted": 6,
        "until": None,
        "until_metric": "cpu_us",
        "time_budget": None,
        "rate": None,
        "seed": 1,
        "max_foreign": 0.1,
        "profiles": [
            {
                "name": "baseline",
                "title": "t",
                "pipeline": 1,
                "per_connection": 0,
                "requests": ["get"],
            }
        ],
        "servers": [{"name": n, "command": ["x"], "backend": n, "about": {}} for n in names],
        "notes": [],
        "idle": None,
        "cells": cells,
        "rows": [],
        "scores": None,
        "counts": [
            {
                "profile": "baseline",
                "conns": 64,
                "server": n,
                "syscalls": {"read": 1.0},
                "syscalls_by": "strace",
                "backend": None,
                "instructions": None,
                "notes": ["no valgrind"],
            }
            for n in names
        ],
    }


EXPECTED = {
    "plot-efficiency",
    "plot-cpu-baseline",
    "plot-cpu-pipelined",
    "plot-memory-baseline",
    "plot-memory-pipelined",
    "plot-memory-json",
    "plot-latency-baseline-64",
    "plot-latency-baseline-512",
    "plot-latency-pipelined-64",
    "plot-latency-pipelined-512",
    "plot-latency-json-64",
} | {f"plot-ratio-{k}-io_%3Curing%3E%26%22x%22" for k in ("rps", "cpu_us", "p99", "cgroup", "pss")}
NO_FIGURES = {"plot-memory-json", "plot-latency-json-64"}  # that cell failed


def svgs(page):
    """{id: element} of the page's plots."""
    found = [ET.fromstring(svg) for svg in re.findall(r"<svg .*?</svg>", page, re.S)]
    assert len(found) == len({e.get("id") for e in found})
    return {e.get("id"): e for e in found}


def words(element):
    return [t.text for t in element.iter("text")]


@needs_matplotlib
def test_every_plot_is_there_once_and_nothing_is_fetched():
    page = report.page(made_up_results())
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) and set(svgs(page)) == EXPECTED
    assert "no-plots" not in ids and "<script" not in page and "@import" not in page
    references = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page) + re.findall(
        r"url\(([^)]*)", page
    )
    assert references and all(r[0] == "#" and r[1:] in ids for r in references), references
    assert "://" not in page and "<?xml" not in page and page.lower().count("<!doctype") == 1
    assert "<uring>" not in page and "<b>died</b>" not in page and "io_&lt;uring&gt;" in page
    assert "103.0 bytes/response" in page and "7 reconnects a slice" in page
    assert "anon 1.00, sock 0.00, kernel 2.00" in page
    assert "width=device-width" in page and "no valgrind" in page


@needs_matplotlib
def test_plots_hold_their_values_and_stay_inside():
    found = svgs(report.page(made_up_results()))
    for ident, svg in found.items():
        assert svg.get("role") == "img" and svg.get("class") == "plot"
        if ident in NO_FIGURES:
            assert words(svg) == ["no figures"] and svg.get("aria-label").endswith("no figures")
            continue
        marks = list(svg.iter("use"))
        assert len(marks) >= 4 and len(words(svg)) >= 6, ident
        _, _, width, height = map(float, svg.get("viewBox").split())
        for e in [*svg.iter("text"), *marks]:
            assert -1 <= float(e.get("x")) <= width + 1 and -1 <= float(e.get("y")) <= height + 1
        # Colours are the page's: nothing else would be seen both in the light and in the dark.
        colours = {
            c
            for e in svg.iter()
            for c in re.findall(r"(?:fill|stroke):([^;]+)", e.get("style", ""))
        }
        assert colours <= set(plots.VARIABLES.values()) | {"none"}, (ident, colours)
    ratio = found["plot-ratio-rps-io_%3Curing%3E%26%22x%22"]
    assert any(t.startswith("1.070 [") for t in words(ratio))
    assert "baseline 512 1.070 [" in ratio.get("aria-label")
    assert {"baseline 64", "pipelined 512", "← slower", "faster →"} <= set(words(ratio))
    memory = found["plot-memory-baseline"]
    assert {"libev", 'io_<uring>&"x"', "64", "512", "MiB", "connections"} <= set(words(memory))
    assert {"p50", "p99.9", "percentile of the requests"} <= set(
        words(found["plot-latency-pipelined-64"])
    )
    assert "pipelined 512" in words(found["plot-efficiency"])


@needs_matplotlib
def test_the_same_results_give_the_same_page(monkeypatch):
    """Whatever the day, the hash seed, and the user's own settings of matplotlib."""
    import matplotlib

    first = report.page(made_up_results())
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "text.usetex": True}):
        assert report.page(made_up_results()) == first
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import test_report as t; print(t.report.page(t.made_up_results()), end='')",
        ],
        cwd=os.path.dirname(os.path.abspath(__file__)),
        env=dict(os.environ, PYTHONPATH=SCRIPTS, PYTHONHASHSEED="7", PYTHONUTF8="1"),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
        timeout=120,
    )
    assert done.stdout == first


def verdict(ratio, low, high, word):
    return {"ratio": ratio, "low": low, "high": high, "verdict": word}


@needs_matplotlib
@pytest.mark.filterwarnings("error")
def test_plots_of_odd_figures():
    """Ratios far outside, equal and single values, long and strange names, four servers."""
    names = ["_x", "$a$ with a name longer than there is room for", "<b>", "d\x01"]
    rps = metrics.BY_KEY["rps"]
    odd = [
        plots.ratios("a", "t", rps, [("x", verdict(50, 0.001, 400, "no difference shown"))]),
        plots.ratios("a", "t", rps, [("x", verdict(1.0, 1.0, 1.0, "no difference shown"))]),
        plots.ratios("a", "t", rps, [("x", verdict(3, None, None, "too few pairs"))]),
        plots.latency("a", "t", {n: {"10": 2, "99": 3e3, "99.999": 4e7} for n in names}),
        plots.latency("a", "t", {"x": {"50": 20}, "y": {}}),
        plots.efficiency("a", "t", [("p", {n: 1e5 for n in names}), ("q", {"<b>": 3})], names),
        plots.memory("a", "t", {n: [(2**k, k) for k in range(20)] for n in names}),
        plots.memory("a", "t", {"x": [(64, 1.5)], "y": [(64, None)]}),
    ]
    for svg in map(ET.fromstring, odd):
        _, _, width, height = map(float, svg.get("viewBox").split())
        for e in [*svg.iter("text"), *svg.iter("use")]:
            assert -1 <= float(e.get("x")) <= width + 1 and -1 <= float(e.get("y")) <= height + 1
    assert "$a$ with a name" in odd[3] and "_x" in odd[6] and "&lt;b&gt;" in odd[5]


@needs_matplotlib
def test_plots_without_figures_do_not_fail():
    for svg in (
        plots.ratios("a", "t", metrics.BY_KEY["rps"], []),
        plots.latency("a", "t", {}),
        plots.efficiency("a", "t", [], ["x"]),
        plots.memory("a", "t", {"x": [(1, None)]}),
    ):
        assert svg.startswith("<svg") and svg.endswith("</svg>") and ">no figures<" in svg


def test_short_figures_have_no_exponent():
    assert [plots.time_short(us) for us in (0.5, 999.7, 12345, 4e6)] == [
        "0.5 µs",
        "1 ms",
        "12.3 ms",
        "4 s",
    ]
    assert [plots.short_number(x) for x in (7, 999.7, 246_900, 3.04e6)] == [
        "7",
        "1k",
        "247k",
        "3.04M",
    ]


@needs_matplotlib
@pytest.mark.parametrize(
    "low, high", [(0.9, 3), (170, 2900), (1e-3, 5e6), (4e6, 4.4e6), (1, 1.01), (5, 59)]
)
def test_log_ticks_are_few_and_inside(low, high):
    from matplotlib.figure import Figure

    axis = Figure().add_subplot().xaxis
    plots.log_axis(axis, low, high, str)
    assert 2 <= len([t for t in axis.get_majorticklocs() if low <= t <= high]) <= 8


def without_matplotlib(folder):
    """An environment in which importing matplotlib fails, as it does where it is not installed."""
    stub = folder / "stub"
    stub.mkdir()
    (stub / "matplotlib.py").write_text("raise ImportError(\"No module named 'matplotlib'\")\n")
    return dict(os.environ, PYTHONPATH=str(stub))


def test_without_matplotlib_the_tables_are_there_and_it_is_said(tmp_path):
    from bench import results as files

    files.write(made_up_results(), str(tmp_path))
    done = bench("report", ".", cwd=tmp_path, env=without_matplotlib(tmp_path))
    assert done.returncode == 0 and done.stdout == "report: ./report.html\n"
    assert done.stderr.count("\n") == 1 and "python3-matplotlib" in done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("python3-matplotlib") == 1 and "<svg" not in page and "<figure" not in page
    assert "1.070 [" in page and "anon 1.00, sock 0.00, kernel 2.00" in page
    assert page.count("<table") >= 8
    assert "1.070 [" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_text_output_needs_the_standard_library_alone(tmp_path):
    from bench import results as files

    files.write(made_up_results(), str(tmp_path))
    code = (
        "import sys; from bench import cli, results, text; r = results.read(sys.argv[1]);"
        " print(text.compare_text(r), text.markdown(r)); sys.exit('matplotlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(tmp_path)],  # -S: no site-packages
        env=dict(os.environ, PYTHONPATH=SCRIPTS, PYTHONUTF8="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert b"1.070 [" in done.stdout


def test_markdown_stands_beside_its_machine():
    table = text.markdown(made_up_results())
    assert "| baseline | 64 |" in table and "1.070 [" in table and "- kernel: 6.1" in table
    assert "FAILED: it <b>died</b>" in table


@needs_matplotlib
def test_chromium_opens_it_without_complaint(tmp_path):
    browser = next((b for b in map(shutil.which, BROWSERS) if b), None)
    if not browser:
        pytest.skip("no Chromium on the PATH (Debian: apt install chromium)")
    results = made_up_results()
    path = report.write(results, str(tmp_path))
    # What the browser sees is told by a page that frames nothing and fetches nothing: a copy with a
    # probe.
    probe = (
        "<script>onload = () => { const bad = [...document.querySelectorAll('svg.plot')].filter(s"
        " => { const b = s.getBoundingClientRect(); return b.width < 100 || b.height < 50; });"
        " document.title = 'plots=' + document.querySelectorAll('svg.plot').length + ' small=' +"
        " bad.length + ' wide=' + (document.documentElement.scrollWidth > innerWidth); }</script>"
    )
    probed = tmp_path / "probed.html"
    with open(path, encoding="utf-8") as f:
        probed.write_text(f.read().replace("</body>", probe + "</body>"), encoding="utf-8")
    shots = os.environ.get("SCREENSHOTS") or str(tmp_path)
    for width, height in ((390, 844), (1280, 1600)):
        shot = os.path.join(shots, f"report-{width}.png")
        base = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},{height}",
        ]
        done = subprocess.run(
            base + [f"--screenshot={shot}", f"file://{path}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert ":CONSOLE" not in done.stdout, done.stdout
        assert os.path.getsize(shot) > 20000
        dom = subprocess.run(
            base + ["--dump-dom", f"file://{probed}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        ).stdout
        title = re.search(r"<title>(plots=[^<]*)</title>", dom)
        assert title, dom[-2000:]
        assert title.group(1) == f"plots={len(EXPECTED)} small=0 wide=false"


@needs_matplotlib
def test_curves_over_rates():
    """One profile at three rates: CPU time with intervals, and two latencies; no plot of memory that
    would have a single point."""
    results = made_up_results()
    names = [s["name"] for s in results["servers"]]
    cell = results["cells"][0]
    for rate in (1000.0, 5000.0, 20000.0):
        slices = [dict(s, rate=rate, rate_met=True, bottleneck="neither") for s in cell["slices"]]
        more = dict(cell, rate=rate, slices=slices)
        results["cells"].append(metrics.sum_up(more, names, 1))
    found = svgs(report.page(results))
    assert {f"plot-rate-{k}-baseline-64" for k in ("cpu_us", "p50", "p99")} <= set(found)
    cpu = found["plot-rate-cpu_us-baseline-64"]
    assert {"1k", "5k", "20k", "requests/s offered", "µs/request"} <= set(words(cpu))
    assert re.search(r"libev 8\.803 \[8\.\d+, 8\.9\d+\] at 1k,", cpu.get("aria-label"))
    assert not any(i.startswith("plot-memory-baseline%20at") for i in found)
    assert "baseline at 5,000/s 64" in words(found["plot-ratio-p99-io_%3Curing%3E%26%22x%22"])


def test_an_old_or_foreign_file_is_refused(tmp_path):
    from bench import results as files
    from bench.errors import BenchError

    doc = copy.deepcopy(made_up_results())
    doc["schema"] = 99
    files.write(doc, str(tmp_path))
    with pytest.raises(BenchError, match="schema 99"):
        files.read(str(tmp_path))
