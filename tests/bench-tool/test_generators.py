# SPDX-License-Identifier: MIT
"""The load generators' recorded outputs, read."""
import json
import os
import shutil

import pytest
from conftest import HERE, recorded

from bench import gen_bivalve_load, gen_gcannon, gen_h2load, gen_wrk, generators, profiles
from bench.load import Job, Seen, Unreadable


def job(name, folder="/nowhere", conns=16, **kw):
    return Job(profiles.load([name])[0], 8080, conns, 1, 1, folder, **kw)


def seen(text):
    """What the tool would have seen of a recorded wrk run: all connected at its first mark."""
    first = gen_wrk.parse_marks(text)[0][0][0]
    return Seen(first - 0.01, first, None, first + 1.2, 0.0)


def test_wrk_baseline():
    text = recorded("wrk-baseline.txt")
    load = gen_wrk.parse(text, job("baseline"), seen(text))
    assert not any(load.errors.values()) and load.not_2xx == 0
    begin, end = load.window
    marks = gen_wrk.parse_marks(text)[0]
    assert begin == pytest.approx(marks[0][0] + 0.05) and end == marks[-1][0]
    # Counted over the window, the pace is that of wrk's own figure to a few percent.
    assert load.requests / (end - begin) == pytest.approx(load.own_rps, rel=0.05)
    assert 140 < load.bytes / load.responses < 160
    values = [load.latency_us[p] for p in ("10", "50", "90", "99", "99.9", "100")]
    assert values == sorted(values) and values[0] > 0


@pytest.mark.parametrize("name", ["baseline", "limited-conn"])
def test_wrk_s_added_samples_are_taken_out_to_the_last_one(name):
    text = recorded(f"wrk-{name}.txt")
    requests = int(text.split(" requests=")[1].split()[0])
    samples = int(text.split("bench-samples ")[1].split()[0])
    assert samples == requests


def test_wrk_pipelined_counts_requests_not_batches():
    text = recorded("wrk-pipelined.txt")
    load = gen_wrk.parse(text, job("pipelined"), seen(text))
    begin, end = load.window
    assert load.requests / (end - begin) == pytest.approx(load.own_rps, rel=0.05)


def test_wrk_without_a_summary_is_unreadable():
    with pytest.raises(Unreadable):
        gen_wrk.parse(
            "unable to connect to 127.0.0.1:1 Connection refused\n",
            job("baseline"),
            Seen(0, 0, None, 1, 0),
        )


def test_a_slice_of_which_nothing_is_left_is_unreadable():
    text = recorded("wrk-baseline.txt")
    s = seen(text)
    s.connected = s.ended - 0.2
    with pytest.raises(Unreadable, match="connections stood"):
        gen_wrk.parse(text, job("baseline"), s)


def test_marks_are_read_off_in_proportion():
    marks = [(1.0, 0), (2.0, 100), (4.0, 500)]
    assert [gen_wrk.sent_at(marks, t) for t in (0.5, 1.5, 2.0, 3.0, 9.0)] == [0, 50, 100, 300, 500]


def test_lua_strings_carry_every_byte():
    assert gen_wrk.lua_string(b'a"\\\r\n\x00\xff1') == '"a\\034\\092\\013\\010\\000\\2551"'
    script = gen_wrk.script(profiles.load(["pipelined"])[0], 7)
    assert script.count("GET /pipeline") == 16 and "bench_connections = 7" in script


@pytest.mark.parametrize("name", ["baseline", "limited-conn", "pipelined"])
def test_gcannon(name):
    text = recorded(f"gcannon-{name}.txt")
    load = gen_gcannon.parse(text, job(name), Seen(10.0, 10.0, 10.02, 11.2, 0.0))
    assert load.window == (pytest.approx(10.12), pytest.approx(11.12, abs=0.02))
    assert load.requests == load.responses > 1000 and load.not_2xx == 0
    assert load.requests / 1.0 == pytest.approx(load.own_rps, rel=0.01)
    assert set(load.latency_us) == {"50", "90", "99", "99.9"}
    assert (load.reconnects > 0) == (name == "limited-conn")
    if name == "baseline":
        assert sum(load.by_request.values()) == load.responses
        assert set(load.by_request) == {"get", "post-length", "post-chunked"}
    assert gen_gcannon.version_from_run(text) == "0.5.3"


def test_gcannon_counts_other_statuses():
    text = recorded("gcannon-pipelined.txt").replace('"4xx": 0', '"4xx": 12')
    assert gen_gcannon.parse(text, job("pipelined"), Seen(0, 0, None, 2, 0)).not_2xx == 12
    with pytest.raises(Unreadable):
        gen_gcannon.parse("Error: cannot resolve", job("pipelined"), Seen(0, 0, None, 2, 0))


def test_h2load(tmp_path):
    j = job("baseline", str(tmp_path), rate=800)
    shutil.copy(os.path.join(HERE, "recorded", "h2load-log.txt"), gen_h2load.log_path(j))
    rows = gen_h2load.parse_log(recorded("h2load-log.txt"))
    load = gen_h2load.parse(recorded("h2load.txt"), j, Seen(0, 0, None, 3, rows[0][0] / 1e6))
    assert load.window == (pytest.approx(0.0, abs=1e-3), pytest.approx(1.0, abs=1e-3))
    assert 0.97 * 800 <= load.requests <= 800 and load.not_2xx == 0
    durations = sorted(us for _, _, us in rows)
    assert load.latency_us["50"] == pytest.approx(durations[len(durations) // 2], rel=0.05)
    assert load.latency_us["100"] <= durations[-1]
    assert load.bytes / load.responses == pytest.approx(149)


def test_h2load_tells_failures():
    text = recorded("h2load.txt").replace("0 failed, 0 errored", "3 failed, 2 errored")
    assert gen_h2load.parse_summary(text)[1:3] == (3, 2)
    with pytest.raises(Unreadable):
        gen_h2load.parse_summary("starting benchmark...\n")


def test_commands_ask_for_what_the_profile_says(tmp_path):
    argv, env = gen_gcannon.command("gcannon", job("limited-conn", str(tmp_path)))
    assert argv[argv.index("-r") + 1] == "10" and "--json" in argv and env["HOME"] == str(tmp_path)
    raws = argv[argv.index("--raw") + 1].split(",")
    assert len(raws) == 3 and all(os.path.getsize(f) for f in raws)
    argv, _ = gen_gcannon.command("gcannon", job("pipelined", str(tmp_path)))
    assert argv[argv.index("-p") + 1] == "16" and "-r" not in argv
    argv, _ = gen_h2load.command("h2load", job("json", str(tmp_path), rate=1000))
    assert "--h1" in argv and "--rps=62.5" in argv and sum("/json/" in a for a in argv) == 7
    argv, _ = gen_wrk.command("wrk", job("json", str(tmp_path)))
    assert "-c16" in argv and os.path.isfile(argv[argv.index("-s") + 1])


def bivalve_load_json(**more):
    """What bivalve-load --json prints, as far as it is read."""
    h = {"count": 9, "mean": 5.0, "min": 1, "p50": 2, "p75": 3, "p90": 4, "p99": 5}
    return json.dumps(
        {
            "schema": 1,
            "begin_s": 100.5,
            "seconds": 1.0,
            "own_seconds": 0.5,
            "requests": 1001,
            "answered": 1000,
            "rps": 1000.0,
            "errors": {},
            "latency_us": dict(h, **{"p99.9": 6, "p99.99": 7, "max": 8}),
            "bytes": {"in": 150000, "out": 1},
            "connections": {"opened": 116},
            "rate": {"held": True},
            **more,
        }
    )


def test_bivalve_load_is_read():
    load = gen_bivalve_load.parse(bivalve_load_json(), job("limited-conn"), None)
    assert load.window == (100.5, 101.5) and load.requests == load.responses == 1000
    assert load.own_s == 0.5
    assert load.bytes == 150000 and load.reconnects == 100 and load.own_rps == 1000
    assert load.latency_us["50"] == 2 and load.latency_us["99.9"] == 6
    assert load.latency_us["100"] == 8 and not load.errors and load.not_2xx == 0


def test_bivalve_load_s_errors_are_read():
    errors = {"status": {"count": 3, "first": "x"}, "timeout": {"count": 2, "first": "y"}}
    load = gen_bivalve_load.parse(bivalve_load_json(errors=errors), job("baseline"), None)
    assert load.not_2xx == 3 and load.errors == {"timeout": 2}
    # What was never sent, because the rate could not be held, is no error of the server's.
    text = bivalve_load_json(errors=errors, rate={"held": False})
    load = gen_bivalve_load.parse(text, job("baseline", rate=5), None)
    assert load.errors == {} and load.not_2xx == 3
    with pytest.raises(Unreadable, match="no right answer"):
        gen_bivalve_load.parse(bivalve_load_json(answered=0), job("baseline"), None)
    with pytest.raises(Unreadable, match="not its JSON"):
        gen_bivalve_load.parse("cannot look up\n", job("baseline"), None)


def test_bivalve_load_takes_turns(tmp_path):
    """Each warms up for whole rounds, at least as long as without."""
    alone = gen_bivalve_load.command("/x", job("baseline", str(tmp_path)))[0]
    assert not [a for a in alone if a.startswith("--turns")]
    for which in range(3):
        j = job("baseline", str(tmp_path))
        j.turns = (0.025, which, 3)
        argv = gen_bivalve_load.command("/x", j)[0]
        assert f"--turns=25ms:{which + 1}/3" in argv
        assert [a for a in argv if a.startswith("--warmup=")] == ["--warmup=0.375s"]


def test_bivalve_load_s_command(tmp_path):
    argv, env = gen_bivalve_load.command("/x/bivalve-load", job("pipelined", str(tmp_path)))
    assert env is None and "--pipeline=16" in argv and "--expect-body=ok" in argv
    raw = [a.partition("=")[2] for a in argv if a.startswith("--raw=")]
    assert [open(f, "rb").read()[:13] for f in raw] == [b"GET /pipeline"]
    argv, _ = gen_bivalve_load.command("x", job("baseline", str(tmp_path), rate=12000))
    assert "--rate=12000" in argv and not any(a.startswith("--expect-body") for a in argv)
    assert sum(a.startswith("--raw=") for a in argv) == 3


def test_who_stands_in_for_ours_is_told():
    ours = generators.Generator(gen_bivalve_load, "/x", "1")
    wrk = generators.Generator(gen_wrk, "/x", "1")
    assert generators.stands_in(ours, None) is None
    assert generators.stands_in(wrk, "wrk") is None
    assert "wrk makes the load" in generators.stands_in(wrk, None)
