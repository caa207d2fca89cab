# SPDX-License-Identifier: MIT
"""Who is compared: any number of servers, third parties' too, each with a URL and a configuration of
its own."""
import json
import os
import shutil

import pytest
from conftest import bench, tiny

from bench import assets, contenders, options, profiles, servers, tables
from bench.errors import BenchError

NGINX = """
user root;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server { listen 127.0.0.1:{port}; root PAGES; }
}
"""
H2O = """
listen: { host: 127.0.0.1, port: {port} }
num-threads: {workers}
hosts: { default: { paths: { /: { file.dir: PAGES } } } }
"""
COMMANDS = {
    "nginx": (NGINX, "nginx -e stderr -c {config:nginx.conf} -g 'daemon off;'"),
    "h2o": (H2O, "h2o -c {config:h2o.conf}"),
}


def chosen(*argv):
    return contenders.chosen(options.build_parser().parse_args(["compare", *argv]))


@pytest.mark.parametrize("program", COMMANDS)
def test_a_third_party_s_server(program, tmp_path):
    """Under load beside another, asked for a page of its own."""
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
    if not path:
        pytest.skip(f"{program} is not installed")
    config, command = COMMANDS[program]
    if os.geteuid() != 0:
        config = config.replace("user root;", "")
    elif program == "h2o":
        config += "user: root\n"
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("hello\n")
    (tmp_path / f"{program}.conf").write_text(config.replace("PAGES", str(tmp_path / "pages")))
    url = f"{program}=http://127.0.0.1:{{port}}/index.html"
    side = f"{program}={path}{command[len(program):]}"
    argv = ["--server", side, "--url", url, "--server", "tiny=" + tiny()]
    more = "--profile baseline --conns 2 --pairs 1 --idle 0 --no-half-rate --out out".split()
    done = bench("compare", *argv, *more, cwd=tmp_path)
    if "bivalve-load was not found" in done.stderr:
        pytest.skip("no load generator")
    assert done.returncode == 0, done.stderr + done.stdout
    assert f"note: {program} is asked for GET /index.html" in done.stderr
    got = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [s["url"] for s in got["servers"]] == ["/index.html", None]
    cell = got["cells"][0]
    sizes = {s["server"]: s["bytes_per_response"] for s in cell["slices"]}
    assert cell["pairs"] == 1 and sizes[program] != sizes["tiny"]
    assert all(s["cpu_us"] > 0 and not s["problems"] for s in cell["slices"])


def test_the_first_on_the_command_line_is_the_baseline(tmp_path, monkeypatch):
    fake = tmp_path / "bivalve"
    fake.write_text("#!/bin/sh\necho 'epoll: runs here'\necho '    features: x'\n"
                    "echo 'io_uring: does not run here: forbidden'\necho 'libev: runs here; 4'\n")
    fake.chmod(0o755)
    here = ("--bivalve", str(fake))
    found, notes = chosen("--server", "a=x {port}", "--backend", "epoll", "--server", "b=y {port}", *here)
    assert [c.name for c in found] == ["a", "epoll", "b"] and not notes
    found, notes = chosen(*here)
    assert [c.name for c in found] == ["libev", "epoll"]
    assert notes == ["io_uring is not compared: does not run here: forbidden"]
    fake.write_text("#!/bin/sh\necho 'libev: runs here'\n")
    with pytest.raises(BenchError, match="two sides.*epoll is not compared: not compiled in"):
        chosen(*here)


def test_a_command_line_and_its_configuration(tmp_path):
    (tmp_path / "c.conf").write_text("listen {port}; {workers} { {dir} }\n")
    side = servers.from_command(f"x=x -c {{config:{tmp_path}/c.conf}}")
    folder = str(tmp_path / "own")
    words = side.command(81, 0, 3, folder)
    assert words == ["x", "-c", f"{folder}/c.conf"]
    assert (tmp_path / "own" / "c.conf").read_text() == f"listen 81; 3 {{ {folder} }}\n"
    served = servers.from_command("x=x {port} {www} {cert}")
    assert served.command(1, 0, 1, folder, needs=assets.Needs("/w", "/c", "/k")) == ["x", "1", "/w", "/c"]
    own = servers.Bivalve("/b").contender("epoll", "epoll")
    words = own.command(83, 0, 1, folder, needs=assets.Needs("/w", "/c", "/k"))
    assert words[1:3] == ["--tls-listen", "127.0.0.1:83"]
    assert words[-6:] == ["--tls-cert", "/c", "--tls-key", "/k", "--static", "/w"]
    assert own.command(83, 0, 1, folder)[1] == "--listen"
    plain = servers.from_command("x=x {port}")
    assert plain.command(82, 0, 1, str(tmp_path / "none")) == ["x", "82"]
    assert not (tmp_path / "none").exists() and not plain.limits_itself()


def test_a_url_takes_the_place_of_a_profile_s_requests():
    limited = profiles.load(["limited-conn"])[0]
    side = servers.from_command("a b=x {port}")
    assert side.asks(limited) is limited
    side.ask_url("http://example.org:{port}/a/b?c")
    asked = side.asks(limited)
    assert asked.per_connection == 10 and asked.name == "limited-conn-a_b"
    assert asked.requests[0].raw() == b"GET /a/b?c HTTP/1.1\r\nHost: example.org\r\n\r\n"
    assert asked.requests[0].fault(200, b"x") == "" and "404" in asked.requests[0].fault(404, b"")
    side.ask_url("http://[::1]:{port}")
    assert side.url.target == "/" and side.url.host == "[::1]"


@pytest.mark.parametrize(
    "argv, why",
    [
        (["--server", "a=x {config:none.conf}"], "none.conf"),
        (["--server", f"a=x {{config:{os.devnull}}}"], "no {port}"),
        (["--server", "a=x {port}", "--server", "b=y {port}", "--url", "c=http://h:{port}/"], "a, b"),
        (["--server", "a=x {port}", "--server", "b=y {port}", "--url", "a=http://h/"], "{port}"),
        (["--server", "a=x {port}", "--server", "b=y {port}", "--url", "a=https://h:{port}/"], "http:"),
    ],
)
def test_what_cannot_be_asked_is_said(argv, why):
    with pytest.raises(BenchError) as e:
        chosen(*argv)
    assert why in str(e.value)


def test_a_table_of_three():
    v = {"metric": "rps", "label": "requests/s", "a": 100.0, "b": 120.0, "ratio": 1.2, "low": 1.1}
    v = dict(v, high=1.3, pairs=9, verdict="faster", more_pairs=0)
    cell = {"profile": "p", "conns": 4, "rate": None, "failed": None, "verdicts": {"b": [v], "c": []}}
    cell["medians"] = {"a": {"rps": 90.0}, "b": {"rps": 1.0}, "c": {"rps": 80.0}}
    doc = {"servers": [{"name": n} for n in "abc"], "rate": None, "cells": [cell]}
    header, rows = tables.short_table(doc, "rps")
    assert header == ["profile", "connections", "server", "median", "to a [95 %]", "verdict"]
    assert rows == [
        ["p", 4, "a", "100", "1", "baseline"],
        ["p", 4, "b", "120", "1.200 [1.100, 1.300]", "faster"],
        ["p", 4, "c", "80", "-", "no whole pair"],
    ]
    cell.update(medians={}, verdicts={}, failed="x")
    assert tables.short_table(doc, "rps")[1] == [["p", 4, "", "-", "-", "failed"]]
    assert [tables.enumerated(list(n)) for n in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


def test_what_servers_are_given(tmp_path):
    """Files and a pair, made once, gone at the end; nothing where nothing is asked for."""
    made = assets.Assets()
    assert vars(made.needs(profiles.load(["baseline"]))) == {"www": "", "cert": "", "key": ""}
    assert made.folder is None
    needs = made.needs(profiles.load(["static-1k", "static-64k"]))
    assert sorted(os.listdir(needs.www)) == ["1024.txt", "65536.txt"] and not needs.cert
    assert os.path.getsize(os.path.join(needs.www, "65536.txt")) == 65536
    if shutil.which("openssl"):
        pair = made.needs(profiles.load(["json-tls"]))
        assert "PRIVATE KEY" in open(pair.key, encoding="ascii").read() and not pair.www
        assert made.needs(profiles.load(["echo-tls"])).cert == pair.cert
    made.close()
    assert not os.path.exists(needs.www)
