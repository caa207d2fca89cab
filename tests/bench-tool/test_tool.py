# SPDX-License-Identifier: MIT
"""The whole tool with short runs: the structure of what it finds. Never its speed."""
import json
import os
import re
import shutil

import pytest
from conftest import assert_nothing_left, bench, comparison, need, results, tiny

WORDS = {"faster", "slower", "less", "more", "no difference shown"}
LIMITED = "{max_requests}"


def check_structure(done, names, profiles, conns, pairs):
    assert done["schema"] == 1 and not done["interrupted"]
    assert [s["name"] for s in done["servers"]] == names
    assert [(c["profile"], c["conns"]) for c in done["cells"]] == [
        (p, n) for p in profiles for n in conns
    ]
    for cell in done["cells"]:
        assert cell["failed"] is None and cell["pairs"] == pairs
        orders = {}
        for s in cell["slices"]:
            assert s["problems"] == [] and s["requests"] > 0 and s["rps"] > 0 and s["cpu_us"] > 0
            assert s["cpu_us"] == pytest.approx(s["user_us"] + s["system_us"])
            assert s["pss_bytes"] > 1 << 18 and s["switches"] >= 0
            assert s["latency_us"]["50"] <= s["latency_us"]["99"] <= s["latency_us"]["99.9"]
            orders.setdefault(s["pair"], {})[s["order"]] = s["server"]
        assert all(sorted(o.values()) == sorted(names) for o in orders.values())
        # Every second pair turns the order round.
        assert all(orders[i][0] != orders[i + 1][0] for i in range(0, pairs - 1, 2))
        for other in names[1:]:
            rows = {r["metric"]: r for r in cell["verdicts"][other]}
            assert {"rps", "cpu_us", "p50", "p99", "p99.9", "switches", "pss"} <= set(rows)
            for r in rows.values():
                assert r["verdict"] in WORDS
                if r["low"] is not None:
                    assert r["low"] <= r["ratio"] <= r["high"]
                    said = r["verdict"] != "no difference shown"
                    assert said == (r["low"] > 1 or r["high"] < 1)


@pytest.mark.parametrize("generator", ["bivalve-load", "wrk"])
def test_all_backends(generator, bivalve, backends, dataset, tmp_path):
    """compare, all profiles, with counts of nothing but structure."""
    if generator == "wrk":
        need("wrk", "wrk")
    sides = backends if len(backends) > 1 else backends * 2
    names = backends if len(backends) > 1 else [backends[0], backends[0] + "#2"]
    done = bench(
        *comparison(
            backend=sides,
            bivalve=bivalve,
            dataset=dataset,
            conns=8,
            pairs=2,
            idle=200,
            generator=generator,
            workers=1,
        ),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    got = results(tmp_path / "out")
    wanted = ["baseline", "pipelined", "limited-conn", "json"]
    if generator == "bivalve-load":  # and a row at a fixed rate
        wanted.append("baseline")
        assert got["cells"][-1]["rate"] > 0
    check_structure(got, names, wanted, [8], 2)
    for server, backend in zip(got["servers"], sides):
        assert server["about"]["backend"].startswith(backend.split(":")[0])
        assert server["about"]["version"] and server["about"]["features"]
    for cell in got["cells"]:
        if cell["profile"] == "limited-conn":
            assert all(s["reconnects"] > 0 for s in cell["slices"])
    assert len(got["idle"]["rounds"]) == len(sides) * 5 and got["idle"]["failed"] is None
    for word in ("[", "server CPU µs/request", "kernel", "generator", names[1]):
        assert word in done.stdout
    assert os.path.getsize(tmp_path / "out" / "report.html") > 10000
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.count("\n| baseline |") == 2 * len(sides) and "kernel" in table
    # Plain lines when piped: no control characters.
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    assert_nothing_left(str(tmp_path))
    again = bench("report", "out", cwd=tmp_path)
    assert again.returncode == 0 and (tmp_path / "out" / "table.md").read_text() == table


def test_backend_counters(wrk, bivalve, backends, dataset, tmp_path):
    """--counts: system calls by name, the backend's own counters, user instructions."""
    if not any(map(__import__("shutil").which, ("strace", "perf"))):
        pytest.skip("neither strace nor perf is on the PATH (Debian: apt install strace)")
    done = bench(
        *comparison(
            backend=[backends[0], backends[-1]],
            bivalve=bivalve,
            dataset=dataset,
            conns=8,
            pairs=1,
            profile="baseline",
            generator="wrk",
            workers=1,
            counts=True,
        ),
        cwd=tmp_path,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    for row in results(tmp_path / "out")["counts"]:
        notes = " ".join(row["notes"])
        assert row["backend"] is None or row["backend"]["enters"] > 0, notes
        assert row["backend"], notes
        if row["syscalls"] is None:
            pytest.skip(f"system calls cannot be counted here: {notes}")
        assert 0.01 < sum(row["syscalls"].values()) < 50
        if row["instructions"] is not None:
            assert 100 < row["instructions"] < 1e6
        else:
            print("instructions not counted:", notes)


def test_any_server_and_profiles_of_ones_own(wrk, tmp_path):
    os.mkdir(tmp_path / "mine")
    (tmp_path / "mine" / "twice.ini").write_text(
        "[profile]\ntitle = of the test\nrequests = a\n[request a]\ntarget ="
        " /baseline11?a=1&b=1\nexpect = 2\n"
    )
    done = bench(
        *comparison(
            "one=" + tiny("max=" + LIMITED),
            "two=" + tiny("max=" + LIMITED),
            "three=" + tiny("max=" + LIMITED),
            profile="twice,limited-conn",
            profiles_dir="mine",
            conns=4,
            pairs=2,
            generator="wrk",
        ),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    got = results(tmp_path / "out")
    check_structure(got, ["one", "two", "three"], ["twice", "limited-conn"], [4], 2)
    assert got["seed"] > 0 and "the server ends each connection" in done.stdout


def test_until_and_time_budget(wrk, tmp_path):
    sides = ("one=" + tiny(), "two=" + tiny())
    usual = {"conns": 4, "generator": "wrk", "profile": "baseline"}
    done = bench(
        *comparison(*sides, until="99%", until_metric="rps", time_budget=90, out="a", **usual),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    cell = results(tmp_path / "a")["cells"][0]
    row = next(r for r in cell["verdicts"]["two"] if r["metric"] == "rps")
    narrow = row["low"] is not None and (row["high"] - row["low"]) / row["ratio"] <= 0.99
    assert (
        cell["stopped"] == ("interval narrow enough" if narrow else "time budget")
        and cell["pairs"] >= 6
    )
    done = bench(*comparison(*sides, time_budget=8, out="b", **usual), cwd=tmp_path)
    cell = results(tmp_path / "b")["cells"][0]
    assert (
        cell["stopped"] == "time budget"
        and 1 <= cell["pairs"] < 8
        and "ended by: time budget" in done.stdout
    )


@pytest.mark.parametrize("generator", ["bivalve-load", "h2load"])
def test_fixed_rate(generator, bivalve, tmp_path):
    if generator == "h2load":
        need("h2load", "nghttp2-client")
    done = bench(
        *comparison(
            "one=" + tiny(),
            "two=" + tiny(),
            bivalve=bivalve,
            generator=generator,
            rate=80,
            conns=4,
            pairs=1,
        ),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    got = results(tmp_path / "out")
    # Of the default profiles those that a fixed rate cannot express are left out, and that is said.
    only = ["limited-conn"] if generator == "bivalve-load" else []
    assert [c["profile"] for c in got["cells"]] == ["baseline"] + only + ["json"]
    assert ("GET only" in done.stderr) == (generator == "h2load")
    assert "batches of 16" in done.stderr
    for cell in got["cells"]:
        assert cell["rate"] == 80 and all(
            s["rate"] == 80 and s["rate_met"] in (True, False) for s in cell["slices"]
        )


def test_a_rate_that_is_not_reached_is_marked(bivalve, tmp_path):
    done = bench(
        *comparison(
            "one=" + tiny(),
            "two=" + tiny(),
            bivalve=bivalve,
            rate=100000,
            conns=4,
            pairs=1,
            profile="baseline",
        ),
        cwd=tmp_path,
    )
    assert "of 100,000 requests/s" in done.stdout and "under 99 %" in done.stdout, (
        done.stderr + done.stdout
    )


def test_run_saves_and_compares(wrk, tmp_path):
    argv = [
        "run",
        "--server",
        "tiny=" + tiny(),
        "--profile",
        "baseline",
        "--conns",
        "4",
        "--seconds",
        "1",
        "--generator",
        "wrk",
        "--save",
        "saved.json",
    ]
    first = bench(*argv, "--out", "one", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert (
        re.search(r"^baseline\s+4\s+[\d,]+\s+\d+\s+[\d.]+ MiB$", first.stdout, re.M)
        and "150.0" in first.stdout
    )
    second = bench(*argv, "--out", "two", cwd=tmp_path)
    assert "Δ RPS" in second.stdout and re.search(r"MiB\s+(~0|[+-][\d.]+)%", second.stdout), (
        second.stdout + second.stderr
    )
    third = bench(*argv[:-2], "--against", "saved.json", "--out", "three", cwd=tmp_path)
    assert third.returncode == 0 and "Δ memory" in third.stdout
    assert len(results(tmp_path / "three")["cells"][0]["slices"]) == 3


def test_check_generators(wrk, bivalve, tmp_path):
    argv = ["check-generators", "--bivalve", bivalve, "--server", "tiny=" + tiny()]
    argv += ["--conns", "4", "--pairs", "4", "--out", "out"]
    done = bench(*argv, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "generators.json").read_text())["generators"]
    assert [r["name"] for r in rows][0] == "bivalve-load" and "wrk" in [r["name"] for r in rows]
    assert all(r["cpu_us"] > 0 and r["own_cpu_us"] > 0 and r["rps"] > 0 for r in rows)
    assert "what a request costs tiny" in done.stdout
    assert ("Left out: h2load" in done.stdout) == bool(shutil.which("h2load"))
    done = bench(*argv, "--profile", "limited-conn", cwd=tmp_path)
    assert done.returncode == 1 and "not every generator closes" in done.stderr
    if shutil.which("h2load"):
        done = bench(*argv, "--rate", "50", "--profile", "pipelined", cwd=tmp_path)
        assert done.returncode == 1 and "cannot be sent at a fixed rate" in done.stderr
        done = bench(*argv, "--rate", "50", "--pairs", "1", cwd=tmp_path)
        assert done.returncode == 0 and "50 requests/s" in done.stdout, done.stderr
        rows = json.loads((tmp_path / "out" / "generators.json").read_text())["generators"]
        assert [r["name"] for r in rows] == ["bivalve-load", "h2load"]
    done = bench(*argv, cwd=tmp_path, env=dict(os.environ, PATH="/no/such"))
    assert done.returncode == 1 and "two load generators are needed" in done.stderr
