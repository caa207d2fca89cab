# SPDX-License-Identifier: MIT
"""diff, merge and export on made-up runs, of which it is known what changed."""
import copy
import csv
import io
import json
import math
import random
import re
import types
import xml.etree.ElementTree as ET

import pytest
from test_report import made_up_results

from bench import cli, intervals, metrics, saved


def made_up_run(seed, cpu=1.0, starts=12, noise=0.01, drift=1.0):
    """Two servers on two rows; the second one's CPU time per request is `cpu` times what it was, and
    `drift` is the machine's."""
    rng = random.Random(seed)
    run = made_up_results()
    run["cells"] = copy.deepcopy(run["cells"][:2])
    names = [s["name"] for s in run["servers"]][:2]
    run["servers"] = run["servers"][:2]
    for cell in run["cells"]:
        like = cell["slices"][0]
        cell["failed"], cell["rate"] = None, None
        cell["slices"] = []
        for pair in range(starts):
            for i, name in enumerate(names):
                us = 10 * drift * (cpu if i else 1) * math.exp(rng.gauss(0, noise))
                cell["slices"].append(
                    dict(like, server=name, pair=pair, order=i, cpu_us=us, rps=5e5 / us)
                )
        metrics.sum_up(cell, names, 1)
    return run


def save(folder, run):
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(run))
    return str(folder)


@pytest.fixture
def runs(tmp_path):
    def make(**kinds):
        return [save(tmp_path / name, run) for name, run in kinds.items()]

    return make


@pytest.fixture
def tool(capsys):
    """The command line, in this process."""

    def call(*argv):
        try:
            status = cli.main(["bivalve-bench", *argv])
        except SystemExit as e:
            status = e.code
        out = capsys.readouterr()
        return types.SimpleNamespace(returncode=status, stdout=out.out, stderr=out.err)

    return call


def test_a_regression_is_found_and_fails(runs, tool):
    old, new, same = runs(old=made_up_run(1), new=made_up_run(2, cpu=1.06), same=made_up_run(3))
    done = tool("diff", old, new, "--fail-over", "3%")
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.count("REGRESSION") == 2 and "FAILED: 2 of 4 rows" in done.stdout
    assert "The same machine" in done.stdout and "!!!" not in done.stdout
    # Worse, but not by so much; better, the other way round; and nothing without --fail-over.
    assert tool("diff", old, new, "--fail-over", "10%").returncode == 0
    back = tool("diff", new, old, "--fail-over", "3%")
    assert back.returncode == 0 and back.stdout.count("improvement") == 2
    assert tool("diff", old, new).returncode == 0
    done = tool("diff", old, same, "--fail-over", "3%", "--markdown")
    assert done.returncode == 0 and "passed: none of 4 rows" in done.stdout
    assert done.stdout.count("\n| ") == 1 + 3 * 4
    # More requests/s are better, less are worse.
    done = tool("diff", old, new, "--fail-over", "3%", "--metric", "rps")
    assert done.returncode == 3 and done.stdout.count("REGRESSION") == 2


def test_another_machine_is_said_loudly_and_not_judged(runs, tool):
    elsewhere = made_up_run(2, cpu=1.06)
    elsewhere["machine"] = dict(elsewhere["machine"], kernel="9.9.9", governor="ondemand")
    old, new = runs(old=made_up_run(1), new=elsewhere)
    done = tool("diff", old, new, "--fail-over", "3%")
    assert done.returncode == 1 and "different machines" in done.stderr
    assert "!!! NOT THE SAME MACHINE" in done.stdout and "now 9.9.9" in done.stdout
    assert "governor: " in done.stdout.split("Not as it was")[1]
    assert tool("diff", old, new, "--fail-over", "3%", "--across-machines").returncode == 3


def test_drift_of_the_machine_is_divided_out_by_a_reference(runs, tool):
    old, new = runs(old=made_up_run(1), new=made_up_run(2, drift=1.2))
    assert tool("diff", old, new, "--fail-over", "3%").returncode == 3
    name = made_up_run(1)["servers"][0]["name"]
    done = tool("diff", old, new, "--fail-over", "3%", "--reference", name)
    assert done.returncode == 0 and "none of 2 rows" in done.stdout, done.stdout + done.stderr
    done = tool("diff", old, new, "--reference", "nobody")
    assert done.returncode == 1 and "no such server" in done.stderr


def test_what_is_missing_does_not_pass(runs, tool):
    fewer = made_up_run(2)
    fewer["cells"].pop()
    busy = made_up_run(4)
    for s in busy["cells"][0]["slices"]:
        s["foreign_cpus"] = 0.7
    few = made_up_run(3, starts=2)
    old, fewer, few, busy = runs(old=made_up_run(1), fewer=fewer, few=few, busy=busy)
    for new, why in ((fewer, "not in the new run"), (few, "for want of starts")):
        done = tool("diff", old, new, "--fail-over", "3%")
        assert done.returncode == 1 and why in done.stderr, done.stderr
    done = tool("diff", old, busy)
    assert "busy in the new run" in done.stdout and "50% of its slices" in done.stdout


def test_rates_that_were_measured_match_and_others_do_not():
    old, new = made_up_run(1), made_up_run(2)
    old["rate"] = new["rate"] = None
    old["cells"][1]["rate"], new["cells"][1]["rate"] = 5000, 5200
    rows = saved.rows_of(old, new, ("cpu_us", "rps"), ("cpu_us",), 0.0)
    assert len(rows) == 2 * 2 + 2 and all("not judged" not in r["verdict"] for r in rows)
    new["cells"][1]["rate"] = 9000
    rows = saved.rows_of(old, new, ("cpu_us",), ("cpu_us",), 0.0)
    assert [r["verdict"] == "not judged: another rate" for r in rows] == [False] * 2 + [True] * 2
    old["rate"] = new["rate"] = 1  # asked for: they must be the same
    assert len(saved.match_cells(old, new)[0]) == 1


def test_one_start_of_run_is_one_value():
    run = made_up_run(1)
    cell, name = run["cells"][0], run["servers"][0]["name"]
    assert len(saved.per_start(run, cell, name, metrics.BY_KEY["cpu_us"])) == 12
    assert len(saved.per_start(dict(run, command="run"), cell, name, metrics.BY_KEY["cpu_us"])) == 1


@pytest.mark.parametrize("starts", [(4, 6), (10, 10)])
def test_the_unpaired_interval_covers_the_truth(starts):
    rng = random.Random(str(starts))
    missed, times = 0, 200
    for i in range(times):
        a, b = ([math.exp(rng.gauss(m, 0.04)) for _ in range(n)] for m, n in zip((2, 2.1), starts))
        got = intervals.unpaired_interval(a, b, seed=i, resamples=300)
        missed += not got["low"] <= math.exp(0.1) <= got["high"]
    assert missed <= 0.10 * times


def test_merge_has_kernels_and_machines_beside_each_other(runs, tool):
    elsewhere = made_up_run(2)
    elsewhere["machine"] = dict(elsewhere["machine"], kernel="9.9.9", cpu="another, of theirs")
    a, b = runs(a=made_up_run(1), b=elsewhere)
    done = tool("merge", a, b, "--csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 2 * 2 * 2 and "run" not in rows[0]
    for one, other in zip(rows[::2], rows[1::2]):
        assert [one[k] == other[k] for k in ("profile", "connections", "server")] == [True] * 3
        assert other["kernel"] == "9.9.9" != one["kernel"] and "another, of theirs" in other["CPU"]
    # The same machine twice: a column says which run it is.
    done = tool("merge", a, a, b)
    assert done.returncode == 0 and done.stdout.split("\n")[0].split()[5] == "run"
    assert tool("merge", a, "--markdown").stdout.startswith("| profile |")
    assert tool("merge", a, "/no/such").returncode == 1


def test_export_gives_back_what_was_measured(runs, tool):
    run = made_up_run(1)
    (a,) = runs(a=run)
    done = tool("export", "--csv", a)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    for cell in run["cells"]:
        for name, medians in cell["medians"].items():
            own = {
                r["metric"]: r
                for r in rows
                if (r["profile"], r["connections"], r["server"])
                == (cell["profile"], str(cell["conns"]), name)
            }
            assert {k: float(r["median"]) for k, r in own.items()} == {
                k: v for k, v in medians.items() if v is not None
            }
            for v in cell["verdicts"].get(name, []):
                assert float(own[v["metric"]]["ratio"]) == v["ratio"]
    done = tool("export", "--markdown", a)
    assert done.returncode == 0 and "| profile |" in done.stdout and "kernel" in done.stdout
    assert tool("export", a).returncode == 2


def test_export_s_summary_has_a_row_for_each_cell(runs, tool):
    (a,) = runs(a=made_up_run(1, cpu=1.5))
    done = tool("export", "--summary", a)
    assert done.returncode == 0, done.stderr
    header, rule, *rows = [
        [c.strip() for c in line.strip("|").split("|")] for line in done.stdout.splitlines()
    ]
    first, second = [s["name"] for s in made_up_run(1)["servers"]]
    assert header == ["profile", "connections", f"{first}, µs", f"{second}, µs"] + [
        f"to {first} [95 %]",
        "verdict",
    ]
    assert len(rows) == 2 and all(len(r) == len(header) == len(rule) for r in rows)
    for row in rows:
        assert row[-1] == "slower" and float(row[-2].split()[0]) == pytest.approx(1.5, rel=0.02)
        assert float(row[3]) / float(row[2]) == pytest.approx(1.5, rel=0.02)
    # Other servers do not belong in the same columns.
    other = made_up_run(2)
    other["servers"][1]["name"] = "other"
    (b,) = runs(b=other)
    done = tool("export", "--summary", a, b)
    assert done.returncode == 1 and "its servers are not those of" in done.stderr


def test_export_s_plot_stands_by_itself(runs, tool, tmp_path):
    pytest.importorskip("matplotlib", reason="python3-matplotlib is not installed")
    (a,) = runs(a=made_up_run(1, cpu=1.5))
    done = tool("export", "--plot", str(tmp_path / "cpu.svg"), a)
    assert done.returncode == 0, done.stderr
    svg = (tmp_path / "cpu.svg").read_text()
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    # Its own colours: those that are used are defined, in light and in dark.
    style = root.find("{http://www.w3.org/2000/svg}style").text
    for name in set(re.findall(r"var\((--\w+)\)", svg)):
        assert style.count(name + ":") == 2, name
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    assert set(re.findall(r'xlink:href="#([^"]+)"', svg)) <= ids
    words = "".join(root.itertext())
    for name in [s["name"] for s in made_up_run(1)["servers"]][1:]:
        assert name + ":" in words
    assert tool("export", "--plot", "/no/such/x.svg", a).returncode == 1
