# SPDX-License-Identifier: MIT
"""The command line and the start: options, addresses, datasets; every refusal with its exit status,
one clear line, and no trace left behind."""

import json
import os
import re
import socket
import stat
import subprocess

import pytest

import wire
from wire_fixtures import backend_list
from test_endpoints import records_to_try
from wire import request

BACKEND = (backend_list()[0] or [None])[0] if os.environ.get("BIVALVE") else None


def one_line(text):
    lines = [l for l in text.splitlines() if l.strip()]
    assert len(lines) == 1, "one clear line, not:\n%s" % text
    return lines[0]


# -- options ------------------------------------------------------------------------------------

@pytest.mark.parametrize("args", [
    ["--nonsense"], ["-Z"], ["stray"], ["--listen"], ["--workers"], ["--workers", "-1"],
    ["--workers", "x"], ["--workers", ""], ["--workers", "1x"], ["--workers", "99999999999999999999"],
    ["--backend", "nonsense"], ["--backend", ""], ["--backend", "libev:nonsense"],
    ["--listen", ""], ["--listen", "nonsense"], ["--listen", "127.0.0.1"], ["--listen", "127.0.0.1:"],
    ["--listen", "127.0.0.1:65536"], ["--listen", "127.0.0.1:x"], ["--listen", "127.0.0.1:-1"],
    ["--listen", "1.2.3:80"], ["--listen", "256.1.1.1:80"], ["--listen", "[::1:80"], ["--listen", "[::1]"],
    ["--listen", "::1:x"], ["--listen", "unix:"], ["--listen", "unix:/" + "x" * 200],
    ["--header-timeout", "x"], ["--header-timeout", "-1"], ["--header-timeout", ""],
    ["--body-timeout", "1x"], ["--idle-timeout", "99999999999999999999"], ["--write-timeout", "-5"],
    ["--drain-timeout", "soon"], ["--max-header-bytes", "x"], ["--max-header-bytes", "-1"],
    ["--max-body-bytes", "99999999999999999999999"], ["--max-connections", "-1"],
    ["--max-requests", "x"], ["--recv-buffer", "0"], ["--recv-buffer", "x"], ["--log-level", "nonsense"],
    ["--dataset"]], ids=lambda a: " ".join(a)[:30])
def test_bad_options(args):
    done = wire.run(*args)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    line = one_line(done.stderr)
    assert "bivalve" in line
    # It names what it does not like: the value, or the option.
    named = [a for a in args if a.strip("-")]
    assert any(a.lstrip("-")[:40] in line for a in named), line


def test_control_bytes_in_an_option_are_not_echoed():
    done = wire.run("--log-level", "a\x1b[31mb\nc")
    assert done.returncode == 2 and "\x1b" not in done.stderr
    one_line(done.stderr)


@pytest.mark.parametrize("args", [["--version"], ["-V"]])
def test_version(args):
    done = wire.run(*args)
    assert done.returncode == 0 and done.stderr == ""
    assert re.search(r"bivalve \S*\d+\.\d+", done.stdout)
    if BACKEND:
        assert re.search(r"\b%s\b.*\d+\.\d+" % BACKEND.split(":")[0], done.stdout), done.stdout


@pytest.mark.parametrize("args", [["--help"], ["-h"]])
def test_help(args):
    done = wire.run(*args)
    assert done.returncode == 0 and done.stderr == ""
    for option in ("--listen", "--workers", "--backend", "--dataset", "--pin", "--no-pin",
                   "--header-timeout", "--body-timeout", "--idle-timeout", "--write-timeout",
                   "--drain-timeout", "--max-header-bytes", "--max-body-bytes", "--max-connections",
                   "--max-requests", "--recv-buffer", "--log-level", "--test", "--version", "--help"):
        assert option in done.stdout, option


@pytest.mark.parametrize("args", [["--test"], ["-t"], ["--test", "--workers", "3", "--listen", "[::]:0"]])
def test_test(args):
    done = wire.run(*args)
    assert done.returncode == 0, done.stderr


def test_test_does_not_bind():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(1)
        done = wire.run("--test", "--listen", "127.0.0.1:%d" % s.getsockname()[1])
        assert done.returncode == 0, done.stderr


def test_test_refuses_bad_options():
    assert wire.run("--test", "--workers", "x").returncode == 2


@pytest.mark.parametrize("spelling", [["-l127.0.0.1:0"], ["--listen=127.0.0.1:0"], ["-l", "127.0.0.1:0"]])
def test_spellings_of_an_option(spelling):
    assert wire.run("--test", *spelling).returncode == 0


def test_options_file(tmp_path):
    conf = tmp_path / "b.conf"
    conf.write_text("# x\nlisten 127.0.0.1:0\nworkers 3\n")
    assert wire.run("--test", "--config", conf).returncode == 0
    with wire.Server(None, "--config", conf, listen=(), workers=None) as s:
        assert "workers 3" in s.start_line
    with wire.Server(None, "--config", conf, workers=1) as s:
        assert "workers 1" in s.start_line
    conf.write_text("listen 127.0.0.1:0\n  worker 3\n")
    for how in ([], ["--test"]):
        done = wire.run("-c", conf, *how)
        assert done.returncode == 2
        assert "%s:2:3: there is no option worker" % conf in one_line(done.stderr)


def test_the_packages_options_file(tmp_path):
    """It is taken as it is, but for the directory that the unit file makes."""
    source = os.path.join(os.environ.get("SRCDIR", "."), "packaging/bivalve.conf")
    conf = tmp_path / "b.conf"
    with open(source) as f:
        text = f.read()
    conf.write_text(text.replace("/run/bivalve", str(tmp_path)))
    done = wire.run("--test", "--config", conf)
    assert done.returncode == 0 and "1 address," in done.stdout, done.stderr
    conf.write_text(re.sub("(?m)^#(?=[a-z])", "", conf.read_text()).replace("/var/log/bivalve", str(tmp_path)))
    assert wire.run("--test", "--config", conf).returncode == 0


def test_test_looks_at_addresses_and_user():
    done = wire.run("--test", "--listen", "192.0.2.77:80")
    assert done.returncode == 1 and "no interface of this machine" in one_line(done.stderr)
    done = wire.run("--test", "--listen", "unix:/no/such/directory/s")
    assert done.returncode == 1 and "make the directory first" in one_line(done.stderr)
    done = wire.run("--test", "--user", "nosuchuserx")
    assert done.returncode == 1 and "there is no user" in one_line(done.stderr)


def complete(*words):
    """What bash offers for the last word."""
    source = os.path.join(os.environ.get("SRCDIR", "."), "scripts/completions/bivalve")
    script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bivalve; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    return subprocess.run(["bash", "-c", script, "bash", source, "bivalve", *words], check=True,
                          stdout=subprocess.PIPE, universal_newlines=True).stdout.split()


def test_completion_for_bash(tmp_path):
    assert complete("--max-u") == ["--max-uri-bytes", "--max-unsent-bytes"]
    assert complete("--backend", "e") == ["epoll"]
    assert complete("--backend", "=", "lib") == ["libev"]
    assert complete("-w", "a") == ["auto"]
    assert complete("--idle-timeout", "") == []
    (tmp_path / "some file").touch()
    assert complete("--dataset", str(tmp_path) + "/s") == [str(tmp_path) + "/some", "file"]


# -- the dataset --------------------------------------------------------------------------------

def good():
    return records_to_try()[:3]


def spoil(**changes):
    records = good()
    records[1].update(changes)
    return records


def without(field):
    records = good()
    del records[1][field]
    return records


def rating(**changes):
    records = good()
    records[1]["rating"] = dict(records[1]["rating"], **changes)
    return records


def rating_without(field):
    records = good()
    del records[1]["rating"][field]
    return records


BAD_DATASETS = [("missing-" + f, without(f), f) for f in (
    "id", "name", "category", "price", "quantity", "active", "tags", "rating")]
BAD_DATASETS += [
    ("id-string", spoil(id="7"), "id"), ("name-number", spoil(name=7), "name"),
    ("name-null", spoil(name=None), "name"), ("category-list", spoil(category=[]), "category"),
    ("price-string", spoil(price="7"), "price"), ("price-real", spoil(price=7.5), "price"),
    ("price-bool", spoil(price=True), "price"), ("quantity-null", spoil(quantity=None), "quantity"),
    ("active-number", spoil(active=1), "active"), ("tags-string", spoil(tags="x"), "tags"),
    ("tags-of-numbers", spoil(tags=["a", 7]), "tags"), ("rating-list", spoil(rating=[1, 2]), "rating"),
    ("rating-no-score", rating_without("score"), "score"),
    ("rating-no-count", rating_without("count"), "count"),
    ("rating-score-string", rating(score="1"), "score"), ("rating-count-null", rating(count=None), "count"),
    ("duplicate-id", spoil(id=1), "id")]


@pytest.mark.parametrize("records,field", [pytest.param(r, f, id=n) for n, r, f in BAD_DATASETS])
def test_bad_dataset_names_file_record_and_field(tmp_path, records, field):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(records))
    for how in ([], ["--test"]):
        done = wire.run("--dataset", path, "--listen", "127.0.0.1:0", *how)
        assert done.returncode == 1, (done.returncode, done.stderr)
        assert "bad.json" in done.stderr, done.stderr
        assert field in done.stderr, done.stderr
        assert re.search(r"\b[123]\b", done.stderr.replace("bad.json", "")), \
            "no number of a record: " + done.stderr


@pytest.mark.parametrize("name,content", [
    ("empty", b""), ("not-json", b"{nope"), ("object", b"{}"), ("number", b"7"), ("null", b"null"),
    ("cut-off", b"[{\"id\": 1,"), ("array-of-numbers", b"[1,2]"), ("trailing", b"[] x"),
    ("nul", b"[\0]")])
def test_dataset_that_is_none(tmp_path, name, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    done = wire.run("--dataset", path, "--test")
    assert done.returncode == 1 and "bad.json" in done.stderr, (done.returncode, done.stderr)


def test_dataset_with_broken_utf8(tmp_path):
    path = tmp_path / "bad.json"
    text = json.dumps(good()).encode().replace(b"\"plain\"", b"\"pl\xff\xfein\"")
    assert b"\xff" in text
    path.write_bytes(text)
    done = wire.run("--dataset", path, "--test")
    assert done.returncode == 1 and "bad.json" in done.stderr, (done.returncode, done.stderr)
    assert re.search(r"(?i)utf", done.stderr), done.stderr


def test_dataset_with_a_member_twice(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(good()).replace("\"price\":", "\"price\": 5, \"price\":", 1))
    done = wire.run("--dataset", path, "--test")
    assert done.returncode == 1 and "bad.json" in done.stderr, (done.returncode, done.stderr)


def test_dataset_missing_or_a_directory(tmp_path):
    for path in (tmp_path / "nosuch.json", tmp_path):
        done = wire.run("--dataset", path, "--listen", "127.0.0.1:0")
        assert done.returncode == 1 and str(path) in done.stderr, (done.returncode, done.stderr)


def test_empty_array_is_a_dataset(tmp_path):
    path = tmp_path / "none.json"
    path.write_text("[]")
    done = wire.run("--dataset", path, "--test")
    if done.returncode == 0:
        with wire.Server(BACKEND, "--dataset", str(path)) as s:
            assert s.exchange(request("GET /json/0 HTTP/1.1")).finals[0].status == 200
            assert s.exchange(request("GET /json/1 HTTP/1.1")).finals[0].status == 400
    else:
        assert done.returncode == 1 and "none.json" in done.stderr


# -- addresses ----------------------------------------------------------------------------------

def refuse(*args):
    """A start that must fail: exit status 1, what it said."""
    with pytest.raises(wire.StartError) as e:
        s = wire.Server(BACKEND, *args[1:], listen=(args[0],))
        s.kill()
    assert e.value.status == 1, e.value
    return e.value.said


def test_port_0(backend):
    with wire.Server(backend, listen=("127.0.0.1:0",), workers=3) as s:
        family, (host, port) = s.addr
        assert port != 0
        for _ in range(30):
            with s.connect() as c:
                assert c.get("/pipeline").body == b"ok"


def test_a_second_server_on_the_address_is_refused(backend):
    with wire.Server(backend) as s:
        port = s.addr[1][1]
        said = refuse("127.0.0.1:%d" % port)
        assert str(port) in said and re.search(r"(?i)in use", said), said
        for _ in range(20):
            with s.connect() as c:
                assert c.get("/pipeline").body == b"ok"


def test_an_address_that_others_hold_is_refused():
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        said = refuse("127.0.0.1:%d" % other.getsockname()[1])
        assert re.search(r"(?i)in use", said), said


def test_starts_again_at_once_on_the_same_port(backend):
    """TIME_WAIT of its own closes does not keep it from the address."""
    with wire.Server(backend) as s:
        port = s.addr[1][1]
        clients = [s.connect() for _ in range(10)]
        for c in clients:
            c.get("/pipeline", "Connection: close")
    with wire.Server(backend, listen=("127.0.0.1:%d" % port,)) as s:
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"


def test_an_address_that_is_not_ours():
    said = refuse("192.0.2.1:8080")
    assert "192.0.2.1" in said


def test_ipv6(backend):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as e:
        pytest.skip("no IPv6 on this machine: %s" % e)
    with wire.Server(backend, listen=("[::1]:0",)) as s:
        assert s.addr[0] == socket.AF_INET6
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"


def test_several_listeners(backend, tmp_path):
    path = str(tmp_path / "s")
    with wire.Server(backend, listen=("127.0.0.1:0", "127.0.0.1:0", "unix:" + path)) as s:
        assert len(s.addresses) == 3, s.start_line
        for addr in s.addresses:
            for _ in range(10):
                with s.connect(addr=addr) as c:
                    assert c.get("/pipeline").body == b"ok"


def test_the_same_address_twice_is_refused():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with pytest.raises(wire.StartError) as e:
        wire.Server(BACKEND, listen=("127.0.0.1:%d" % port,) * 2).kill()
    assert e.value.status in (1, 2)


def test_unix_socket(backend, tmp_path):
    path = str(tmp_path / "s")
    with wire.Server(backend, listen=("unix:" + path,), workers=3) as s:
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        clients = [s.connect() for _ in range(60)]
        for i, c in enumerate(clients):
            assert c.get("/baseline11?a=%d" % i).body == b"%d" % i
        for c in clients:
            c.close()
        e = s.exchange(request("GET /json/50 HTTP/1.1") * 50, responses=50)
        assert len(e.finals) == 50 and not e.error
        e = s.exchange(b"BAD\r\n\r\n")
        assert [r.status for r in e.finals] == [400] and not e.reset


def test_unix_socket_again_after_the_end(backend, tmp_path):
    path = str(tmp_path / "s")
    for _ in range(2):
        with wire.Server(backend, listen=("unix:" + path,)) as s:
            with s.connect() as c:
                assert c.get("/pipeline").body == b"ok"


def test_unix_socket_stale(backend, tmp_path):
    """A path left by a server that was killed is removed, once connect() is refused there."""
    path = str(tmp_path / "s")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    assert os.path.exists(path)
    with wire.Server(backend, listen=("unix:" + path,)) as s:
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"


def test_unix_socket_in_use_is_left_alone(backend, tmp_path):
    path = str(tmp_path / "s")
    with wire.Server(backend, listen=("unix:" + path,)) as s:
        said = refuse("unix:" + path)
        assert path in said
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"


def test_unix_path_that_is_a_file_is_left_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    said = refuse("unix:%s" % path)
    assert str(path) in said
    assert path.read_text() == "data"


def test_unix_path_in_no_directory(tmp_path):
    said = refuse("unix:%s/nosuch/s" % tmp_path)
    assert "nosuch" in said


# -- backends ------------------------------------------------------------------------------------

def test_an_backend_that_is_not_compiled_in():
    version = wire.run("--version").stdout
    missing = [e for e in ("epoll", "libev", "io_uring") if not re.search(r"\b%s\b" % e, version)]
    if not missing:
        pytest.skip("every backend is compiled in")
    for backend in missing:
        done = wire.run("--backend", backend, "--listen", "127.0.0.1:0")
        assert done.returncode in (1, 2) and backend in done.stderr, (done.returncode, done.stderr)


def test_auto_says_which(tmp_path):
    with wire.Server("auto") as s:
        assert re.search(r"backend[ =](epoll|libev|io_uring)", s.start_line), s.start_line
        with s.connect() as c:
            assert c.get("/pipeline").body == b"ok"


def test_log_goes_to_stderr(backend):
    p = subprocess.Popen([wire.binary(), "--backend", backend, "--listen", "127.0.0.1:0"] + wire.ALWAYS,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        line = p.stderr.readline()
        while line and b"listening on" not in line:
            line = p.stderr.readline()
        assert b"listening on" in line
        p.terminate()
        out, _ = p.communicate(timeout=30)
        assert out == b"" and p.returncode == 0
    finally:
        if p.poll() is None:
            p.kill()


def test_user_data_is_not_logged_raw(backend):
    with wire.Server(backend, "--log-level", "debug") as s:
        s.exchange(b"GET /\x1b[31mEVIL\x07 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        s.exchange(b"GET /pipeline HTTP/1.1\r\nHost: \x1b[31mEVIL\r\n\r\n")
        s.exchange(b"\x1b[31mEVIL\r\n\r\n")
        assert "\x1b" not in s.log() and "\x07" not in s.log()


def test_a_flood_of_bad_requests_does_not_flood_the_log(backend):
    with wire.Server(backend, "--log-level", "info") as s:
        exchanges = [wire.Exchange(request("GET /%d#\x7f HTTP/1.1" % i)) for i in range(2000)]
        wire.drive(s.addr, exchanges)
        assert set(tuple(r.status for r in e.finals) for e in exchanges) == {(400,)}
        assert len(s.log().splitlines()) < 200
