# SPDX-License-Identifier: MIT
"""What goes wrong: what the tool refuses, what it makes of servers that fail, and that nothing survives
it."""
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import TOOL, assert_nothing_left, bench, comparison, results, tiny


def test_a_port_that_another_process_answers_is_not_measured(wrk, tmp_path):
    away = f"away=sh -c '({tiny()} & ) ; exec sleep 60'"
    done = bench("compare", "--server", away, "--server", "b=" + tiny(), cwd=tmp_path)
    assert done.returncode != 0
    assert "answered by a process that is not away's" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "argv, why",
    [
        (["compare", "--server", "a=true"], "no {port} in the command"),
        (["compare", "--server", "a=true {port}"], "needs two sides"),
        (
            ["compare", "--server", "a=/no/such/program {port}", "--server", "b=true {port}"],
            "cannot run /no/such/program",
        ),
        (
            [
                "compare",
                "--server",
                "a=sh -c 'echo my reason >&2; exit 4' {port}",
                "--server",
                "b=true {port}",
            ],
            "ended at start (exit status 4)",
        ),
        (
            [
                "compare",
                "--server",
                "a=true {port}",
                "--server",
                "b=true {port}",
                "--profile",
                "none",
            ],
            "no profile none",
        ),
        (
            [
                "compare",
                "--server",
                "a=true {port}",
                "--server",
                "b=true {port}",
                "--conns",
                "900000",
            ],
            "file descriptors",
        ),
        (
            ["compare", "--server", "a=true {port}", "--server", "b=true {port}", "--cpus", "0"],
            "SERVER:LOAD",
        ),
        (
            ["compare", "--backend", "libev", "--backend", "libev", "--bivalve", "/no/such"],
            "not an executable",
        ),
        (
            ["run", "--server", "a=true {port}", "--against", "/no/such"],
            "is not what bivalve-bench run --save writes",
        ),
        (["report", "/no/such"], "is not a results.json"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_measured(wrk, argv, why, tmp_path):
    if "--conns" in argv:
        hard = __import__("resource").getrlimit(__import__("resource").RLIMIT_NOFILE)[1]
        if hard < 0 or hard > 900000:
            pytest.skip(f"the hard limit on file descriptors, {hard}, allows even that")
    done = bench(*argv, cwd=tmp_path)
    assert done.returncode == 1 and why in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_s_last_words_are_shown(wrk, tmp_path):
    done = bench(
        "compare",
        "--server",
        "a=sh -c 'echo my reason >&2; exit 4' {port}",
        "--server",
        "b=true {port}",
        cwd=tmp_path,
    )
    assert "my reason" in done.stderr


def test_missing_generator(tmp_path):
    env = dict(os.environ, PATH=str(tmp_path))
    sides = ["compare", "--server", "a=" + tiny(), "--server", "b=" + tiny()]
    for more, why in (
        (["--generator", "wrk"], "wrk was not found: apt install wrk"),
        (["--generator", "h2load", "--rate", "10"], "nghttp2-client"),
        (["--generator", "h2load"], "it is for --rate alone"),
        (["--generator", "wrk", "--rate", "10"], "it keeps no fixed rate over HTTP/1.1"),
        ([], "BIVALVE_LOAD=/no/such: not an executable file"),
    ):
        done = bench(*sides, *more, cwd=tmp_path, env=dict(env, BIVALVE_LOAD="/no/such"))
        assert done.returncode == 1 and why in done.stderr, done.stderr


def test_wrong_options_end_with_2(tmp_path):
    for argv in (
        ["compare", "--pairs", "none"],
        ["compare", "--until", "x"],
        [],
        ["compare", "--conns", "0"],
    ):
        done = bench(*argv, cwd=tmp_path)
        assert done.returncode == 2 and "usage" in done.stderr


def test_wrong_answers_stop_it(wrk, tmp_path):
    done = bench(
        "compare",
        "--server",
        "a=" + tiny(),
        "--server",
        "b=" + tiny("baseline=56"),
        "--profile",
        "baseline",
        cwd=tmp_path,
    )
    assert done.returncode == 1 and "b does not answer profile baseline correctly" in done.stderr
    assert "b'56'" in done.stderr


def test_answers_that_turn_wrong_under_load_fail_the_row(wrk, tmp_path):
    """The check passes; afterwards the bytes per response are not what it predicts."""
    done = bench(
        *comparison(
            "a=" + tiny(),
            "b=" + tiny("late=40"),
            profile="pipelined",
            conns=2,
            pairs=1,
            generator="wrk",
        ),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    cell = results(tmp_path / "out")["cells"][0]
    assert "bytes per response where the check predicts" in cell["failed"]
    assert "FAILED" in done.stdout and "FAILED" in (tmp_path / "out" / "table.md").read_text()


def test_a_server_that_dies_fails_the_row(wrk, tmp_path):
    done = bench(
        *comparison(
            "a=" + tiny(),
            "b=" + tiny("die=2.5"),
            profile="baseline",
            conns=2,
            pairs=6,
            generator="wrk",
        ),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    failed = results(tmp_path / "out")["cells"][0]["failed"]
    assert "b died (exit status 3)" in failed and "dying as I was told" in failed


def test_a_busy_port(wrk, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        port = s.getsockname()[1]
        done = bench(
            "compare",
            "--server",
            "a=" + tiny(),
            "--server",
            "b=" + tiny(),
            "--port",
            str(port),
            cwd=tmp_path,
        )
    assert done.returncode == 1 and f"port {port} is in use" in done.stderr


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_interrupted_it_reports_and_leaves_nothing(wrk, number, status, tmp_path):
    # The servers hide: children in sessions of their own that ignore SIGTERM.
    argv = comparison(
        "a=" + tiny("child=1", f"at={tmp_path}"),
        "b=" + tiny("child=1", f"at={tmp_path}"),
        profile="baseline",
        conns=2,
        pairs=50,
        generator="wrk",
        max_foreign=1000,
    )
    tool = subprocess.Popen(
        [sys.executable, TOOL, *argv],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that runs the tests in the background has SIGINT ignored, and so would the tool.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 60
    while (
        time.monotonic() < end
        and len(
            os.listdir(tmp_path / "out" / "load") if (tmp_path / "out" / "load").exists() else []
        )
        < 2
    ):
        time.sleep(0.1)
    time.sleep(6)
    tool.send_signal(number)
    out, err = tool.communicate(timeout=60)
    assert tool.returncode == status, err
    assert "interrupted" in err and "Traceback" not in err
    got = results(tmp_path / "out")
    assert got["interrupted"] and got["cells"][0]["slices"] and "requests/s" in out
    assert_nothing_left(str(tmp_path))


def test_killed_outright_it_leaves_nothing(wrk, tmp_path):
    argv = comparison(
        "a=" + tiny(f"at={tmp_path}"),
        "b=" + tiny(f"at={tmp_path}"),
        profile="baseline",
        conns=2,
        pairs=50,
        generator="wrk",
        out=str(tmp_path / "out"),
    )
    tool = subprocess.Popen(
        [sys.executable, TOOL, *argv],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(5)
    assert tool.poll() is None
    tool.kill()
    tool.wait()
    assert_nothing_left(str(tmp_path))
