# SPDX-License-Identifier: MIT
"""Profiles and the check that a server answers them."""
import gzip
import json
import socket
import subprocess
import sys
import time

import pytest
from conftest import TINY

from bench import gen_bivalve_load, gen_h2load, httpclient, profiles
from bench.errors import BenchError

SMALL = "[profile]\nrequests = a\n[request a]\ntarget = /x\nexpect = y\n"


def test_the_shipped_profiles():
    assert set(profiles.available()) >= set(profiles.DEFAULT)
    by_name = {p.name: p for p in profiles.load([])}
    assert list(by_name) == list(profiles.DEFAULT)
    assert by_name["pipelined"].pipeline == 16 and by_name["limited-conn"].per_connection == 10
    assert [r.target for r in by_name["json"].requests] == [
        "/json/1?m=3",
        "/json/5?m=7",
        "/json/10?m=2",
        "/json/15?m=5",
        "/json/25?m=4",
        "/json/40?m=8",
        "/json/50?m=6",
    ]
    chunked = by_name["baseline"].requests[2].raw()
    assert chunked.endswith(b"Transfer-Encoding: chunked\r\n\r\n2\r\n20\r\n0\r\n\r\n")
    assert by_name["baseline"].requests[1].raw().endswith(b"Content-Length: 2\r\n\r\n20")


def test_what_a_fixed_rate_can_express():
    by_name = {p.name: p for p in profiles.load([])}
    rated, note = by_name["baseline"].for_rate(gen_h2load)
    assert [r.name for r in rated.requests] == ["get"] and "GET only" in note
    rated, note = by_name["json"].for_rate(gen_h2load)
    assert len(rated.requests) == 7 and not note
    assert by_name["limited-conn"].for_rate(gen_h2load)[0] is None
    for name in ("baseline", "limited-conn"):
        assert by_name[name].for_rate(gen_bivalve_load) == (by_name[name], "")
    for generator in (gen_h2load, gen_bivalve_load):
        assert by_name["pipelined"].for_rate(generator)[0] is None


def test_rates_of_their_own(tmp_path):
    slow, fast = profiles.load(["latency-10k", "latency-1m"])
    assert (slow.rate, fast.rate, slow.conns, fast.conns) == (10_000, 1_000_000, 1024, 1024)
    assert slow.requests[0].raw() == fast.requests[0].raw()
    rated, _ = slow.for_rate(gen_h2load)
    assert rated.rate == 10_000 and profiles.load(["baseline"])[0].rate is None
    (tmp_path / "own.ini").write_text(SMALL.replace("a\n", "a\npipeline = 2\nrate = 5\n", 1))
    with pytest.raises(BenchError, match="pipeline or rate"):
        profiles.load(["own"], str(tmp_path))


def test_a_body_of_so_many_bytes():
    big = profiles.load(["upload"])[0].requests[0]
    assert len(big.body) == 1 << 20 and big.expect == "1048576"
    head, _, body = big.raw().partition(b"\r\n\r\n")
    echo = profiles.load(["echo"])[0].requests[0]
    assert echo.fault(200, echo.body.encode()) == "" and echo.fault(200, b"x")
    assert b"Content-Length: 1048576" in head and body == big.body.encode()


def test_files_and_what_not_every_generator_can():
    file = profiles.load(["static-64k"])[0]
    assert file.files() == {65536} and not file.tls and not file.idle
    assert file.requests[0].target == "/static/65536.txt"
    assert file.requests[0].fault(200, profiles.file_content(65536).encode()) == ""
    assert file.requests[0].fault(200, profiles.file_content(65535).encode())
    secure, crowd = profiles.load(["tls-connect", "idle-crowd"])
    assert secure.tls and secure.per_connection == 1 and crowd.idle == 50000
    assert secure.asking(secure.requests[0], "x").tls and crowd.for_rate(gen_h2load)[0].idle
    assert [m.EXTRAS for m in (gen_bivalve_load, gen_h2load)] == [True, False]


def test_answers_in_a_coding():
    request = profiles.load(["json-gzip"])[0].requests[0]
    assert b"\r\nAccept-Encoding: gzip\r\n" in request.raw()
    item = {"price": 2, "quantity": 3, "total": 18}
    text = json.dumps({"count": 1, "items": [item]}).encode()
    assert request.fault(200, gzip.compress(text), "gzip") == ""
    assert request.fault(200, text) == "" and "not gzip" in request.fault(200, text, "gzip")
    assert request.fault(200, gzip.compress(b"{}"), "gzip") and request.fault(200, b"", "br")


def test_every_shipped_profile_can_be_read():
    for profile in profiles.load(sorted(profiles.available())):
        assert profile.title and all(r.raw() for r in profile.requests)


def test_a_profile_is_added_by_dropping_a_file(tmp_path):
    (tmp_path / "own.ini").write_text(SMALL)
    (tmp_path / "baseline.ini").write_text(SMALL)
    assert profiles.load(["own"], str(tmp_path))[0].requests[0].target == "/x"
    assert len(profiles.load(["baseline"], str(tmp_path))[0].requests) == 1
    with pytest.raises(BenchError, match="no profile nothing"):
        profiles.load(["nothing"], str(tmp_path))
    with pytest.raises(BenchError, match="profiles folder"):
        profiles.load(["own"], str(tmp_path / "missing"))


@pytest.mark.parametrize(
    "text, why",
    [
        (SMALL + "body = 1\nexpect-body = sent\n", "without expect"),
        (SMALL + "body-bytes = 0\n", "body-bytes = 1 to"),
        (SMALL + "file-bytes = 1k\n", "file-bytes = 1 to"),
        (SMALL + "file-bytes = 10\n", "says what target"),
        (SMALL.replace("]\n", "]\ntls = on\n", 1), "yes or no"),
        (SMALL.replace("]\n", "]\nidle = -1\n", 1), "idle = -1"),
        (SMALL + "body-bytes = 9\nbody = 9\n", "no body"),
        ("[profile]\nrequests = b\n" + SMALL[len("[profile]\nrequests = a\n") :], "no .request b."),
        (SMALL.replace("expect = y\n", ""), "unchecked"),
        (SMALL + "speed = 9\n", "unknown key speed"),
        (SMALL.replace("requests = a", "requests = a\npipeline = 99"), "from 1 to 64"),
        (SMALL.replace("/x", "x"), "begin with /"),
        (SMALL + "[other]\n", "unknown section"),
        ("nonsense", "own.ini"),
    ],
)
def test_a_wrong_profile_is_told_where(text, why):
    with pytest.raises(BenchError, match=why):
        profiles.parse(text, "own", "own.ini")


def test_json_answers_are_checked():
    good = b'{"items":[{"price":2,"quantity":3,"total":30}],"count":1}'
    assert profiles.json_fault(good, 1, 5) == ""
    assert "total 30" in profiles.json_fault(good, 1, 4)
    assert "count" in profiles.json_fault(good, 2, 5)
    assert profiles.json_fault(b"{}", 1, 5) and profiles.json_fault(b"no", 1, 5)


@pytest.fixture
def server():
    """start(options) -> port of a tiny server."""
    running = []

    def start(*options):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        p = subprocess.Popen([sys.executable, TINY, str(port), *options])
        running.append(p)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return port
            except OSError:
                time.sleep(0.02)
        raise AssertionError("the tiny server did not start")

    yield start
    for p in running:
        p.kill()
        p.wait()


def test_the_check_passes_right_answers_and_predicts_their_bytes(server):
    keeps, closes = server(), server("max=10")
    for p in profiles.load([]):
        got = httpclient.check_profile(
            closes if p.per_connection else keeps, p, bool(p.per_connection)
        )
        assert set(got["sizes"]) == {r.name for r in p.requests}
        mean = sum(got["sizes"].values()) / len(got["sizes"])
        # The closing answer's header is spread over the ten.
        extra = len("Connection: close\r\n") / 10 if p.per_connection else 0
        assert got["bytes_per_response"] == pytest.approx(mean + extra)


def test_the_check_rejects_wrong_answers(server):
    base = profiles.load(["baseline"])[0]
    with pytest.raises(httpclient.Wrong, match="b'56' where b'55'"):
        httpclient.check_profile(server("baseline=56"), base, False)
    piped = profiles.load(["pipelined"])[0]
    with pytest.raises(httpclient.Wrong, match="answer 9 of 16"):
        httpclient.check_profile(server("late=10"), piped, False)


def test_the_check_insists_on_who_closes(server):
    limited = profiles.load(["limited-conn"])[0]
    with pytest.raises(httpclient.Wrong, match="keeps a connection open"):
        httpclient.check_profile(server(), limited, True)
    with pytest.raises(httpclient.Wrong, match="closes after 7"):
        httpclient.check_profile(server("max=7"), limited, True)
    httpclient.check_profile(server(), limited, False)


def test_nobody_listening():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        with pytest.raises(httpclient.Wrong, match="cannot connect"):
            httpclient.Client(s.getsockname()[1])
