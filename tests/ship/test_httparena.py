# SPDX-License-Identifier: MIT
"""packaging/httparena: the command of its Dockerfile passes the benchmark's validation, on every backend; and the
validation finds servers out that are wrong."""

import gzip
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading

import pytest
import wire
import wire_tls

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
ENTRY = os.path.join(TOP, "packaging", "httparena")
VALIDATE = os.path.join(TOP, "scripts", "httparena-validate")
FILES = re.search(r'^FILES = \((.*?)\)\.split', open(VALIDATE, encoding="utf-8").read(), re.M | re.S).group(1)
FILES = re.sub(r'["\s]+', " ", FILES).split()


def meta():
    with open(os.path.join(ENTRY, "meta.json"), encoding="utf-8") as f:
        return json.load(f)


def command():
    with open(os.path.join(ENTRY, "Dockerfile"), encoding="utf-8") as f:
        return json.loads(re.findall(r"^CMD (\[.*\])$", f.read(), re.M)[-1])


def validate(port, *args):
    return subprocess.run([sys.executable, "-B", VALIDATE, "--host", "127.0.0.1", "--port", str(port), *args],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, timeout=300)


@pytest.fixture(scope="module")
def data():
    """What the benchmark mounts at /data: twenty files, those that are text with siblings."""
    path = wire.tempfile.mkdtemp(prefix="bivalve-arena-", dir=wire.TMP)
    os.chmod(path, 0o755)
    os.mkdir(os.path.join(path, "static"), 0o755)
    shutil.copy(os.path.join(TOP, "data", "dataset.json"), path)
    for at, name in enumerate(FILES):
        body = (b"/* %d of %s */\n" % (at, name.encode())) * (500 + 100 * at)
        for end, content in (("", body), (".gz", gzip.compress(body))):
            if not end or not name.endswith(("woff2", "webp")):
                with open(os.path.join(path, "static", name + end), "wb") as f:
                    f.write(content)
                    os.fchmod(f.fileno(), 0o644)
    yield path
    shutil.rmtree(path)


def test_the_entry_is_complete():
    assert set(meta()) == {"display_name", "language", "type", "engine", "description", "repo", "enabled", "tests",
                           "maintainers"}
    assert meta()["type"] in ("production", "tuned", "engine")
    assert len(FILES) == 20
    with open(VALIDATE, encoding="utf-8") as f:
        assert '", "'.join(meta()["tests"]) in f.read()         # the profiles that it knows
    assert "no profile" in validate(1, "--profiles", "echo-ws").stdout


def test_the_command_passes_validation(backend, data):
    options = command()[1:]
    profiles = meta()["tests"]
    for at in range(len(options) - 1, -1, -1):
        if options[at] in ("--listen", "--user"):
            del options[at:at + 2]
    made = None
    version = wire.run("--version").stdout
    try:
        if wire_tls.available():
            made = wire_tls.Certificates()
        else:
            at = options.index("--tls-listen")
            del options[at:at + 6]
            profiles.remove("json-tls")
        if not re.search(r"compression: .*zlib", version):
            profiles.remove("json-comp")
        place = {"0.0.0.0:8081": "127.0.0.1:0", "/data/static": os.path.join(data, "static"),
                 "/data/dataset.json": os.path.join(data, "dataset.json"),
                 "/certs/server.crt": made and made.cert, "/certs/server.key": made and made.key}
        options = [place.get(o, o) for o in options]
        assert not any(o.startswith(("/data", "/certs")) for o in options), options
        with wire.Server(backend, *options) as server:
            tls = ["--tls-port", str(server.addresses[1][1][1])] if "json-tls" in profiles else []
            done = validate(server.addr[1][1], "--data", data, "--pause", "0.2", "--profiles", ",".join(profiles), *tls)
        assert done.returncode == 0 and re.search(r"^[1-9][0-9]* passed, 0 failed, 0 skipped$", done.stdout, re.M), done.stdout
    finally:
        if made:
            made.close()


class Canned(socketserver.StreamRequestHandler):
    """Answers every request alike, and leaves the connection open whatever the client says."""

    def handle(self):
        while True:
            try:
                line = self.rfile.readline()
            except OSError:
                return
            if not line:
                return
            if line == b"\r\n":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n55")


def test_a_wrong_server_is_found_out():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Canned, bind_and_activate=True) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = validate(server.server_address[1], "--profiles", "baseline,pipelined,json,upload,static", "--timeout", "1")
        server.shutdown()
    assert done.returncode == 1
    passed = re.findall(r"^PASS (.*)$", done.stdout, re.M)
    assert passed == ["baseline: GET"], done.stdout
    assert "FAIL baseline: Connection: close closes" in done.stdout
