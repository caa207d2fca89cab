# SPDX-License-Identifier: MIT
"""The HTML page: self-contained, every plot there, and opened in headless Chromium where there is
one."""
import copy
import os
import re
import shutil
import subprocess

import pytest

from bench import metrics, plots, report, text

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def made_up_slice(server, pair, rps, conns):
    return {
        "server": server,
        "pair": pair,
        "start": pair // 2,
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
        "servers": [{"name": n, "command": ["x"], "engine": n, "about": {}} for n in names],
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
                "engine": None,
                "instructions": None,
                "notes": ["no valgrind"],
            }
            for n in names
        ],
    }


EXPECTED = {
    "plot-efficiency",
    "plot-memory-baseline",
    "plot-memory-pipelined",
    "plot-memory-json",
    "plot-latency-baseline-64",
    "plot-latency-baseline-512",
    "plot-latency-pipelined-64",
    "plot-latency-pipelined-512",
    "plot-latency-json-64",
} | {f"plot-ratio-{k}-io--uring---x-" for k in ("rps", "cpu-us", "p99", "cgroup", "pss")}


def test_every_plot_is_there_once_and_nothing_is_fetched():
    page = report.page(made_up_results())
    ids = re.findall(r'<svg id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and set(ids) == EXPECTED
    assert "<script" not in page and "@import" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "url(" not in page
    assert "<uring>" not in page and "<b>died</b>" not in page and "io_&lt;uring&gt;" in page
    assert "103.0 bytes/response" in page and "7 reconnects a slice" in page
    assert "anon 1.00, sock 0.00, kernel 2.00" in page
    assert "width=device-width" in page and "no valgrind" in page


def test_plots_hold_their_values_and_stay_inside():
    page = report.page(made_up_results())
    for svg in re.findall(r"<svg .*?</svg>", page, re.S):
        height = float(re.search(r'viewBox="0 0 360 ([\d.]+)"', svg).group(1))
        for name, limit in (
            ("x", 360),
            ("x1", 360),
            ("x2", 360),
            ("cx", 360),
            ("y", height),
            ("cy", height),
        ):
            for value in re.findall(rf'\b{name}="(-?[\d.]+)"', svg):
                assert -1 <= float(value) <= limit, svg
    assert "1.070 [" in page


def test_plots_without_figures_do_not_fail():
    for svg in (
        plots.ratios("a", "t", "u", []),
        plots.latency("a", "t", {}),
        plots.bars("a", "t", [], ["x"]),
        plots.lines("a", "t", {"x": [(1, None)]}, "x", "y"),
    ):
        assert svg.startswith("<svg") and svg.endswith("</svg>")


@pytest.mark.parametrize("low, high", [(0.9, 3), (170, 2900), (1e-3, 5e6), (4e6, 4.4e6), (1, 1.01)])
def test_log_ticks_are_few_and_inside(low, high):
    ticks = plots.log_ticks(low, high)
    assert len(ticks) <= 12 and all(low * 0.99 <= t <= high * 1.01 for t in ticks)


def test_markdown_stands_beside_its_machine():
    table = text.markdown(made_up_results())
    assert "| baseline | 64 |" in table and "1.070 [" in table and "- kernel: 6.1" in table
    assert "FAILED: it <b>died</b>" in table


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


def test_an_old_or_foreign_file_is_refused(tmp_path):
    from bench import results as files
    from bench.errors import BenchError

    doc = copy.deepcopy(made_up_results())
    doc["schema"] = 99
    files.write(doc, str(tmp_path))
    with pytest.raises(BenchError, match="schema 99"):
        files.read(str(tmp_path))
