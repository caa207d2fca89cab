# SPDX-License-Identifier: MIT
"""Every command in the documents works.

Commands of bivalve, bivalve-load and bivalve-bench are run: the server has to start with that line, say so and answer. Only
what a test may not use is put in their places: ports, directories of the system, users, and how long something takes.
What builds and tests the project is run by .ci/run; here it is checked that the scripts, targets and options exist. What is
neither has a reason in NOT_RUN. A command of another kind in a document is a failure, until somebody says how it is run.
"""

import os
import re
import shutil
import signal
import ssl
import subprocess

import documents
import pytest
import wire
import wire_tls

COMMANDS = list(documents.all_commands())

# First words, and why they are not run; the check is what can be said without them.
NOT_RUN = {
    "bpftrace": "needs a kernel that can be traced, and root; the probes themselves are held by test_trace.py",
    "openssl": "asks the responder of a certificate authority",
    "systemctl": "needs a running systemd; packaging/debian/tests/service is run where there is one",
    "docker": "needs Docker's daemon",
    "kubectl": "needs a cluster",
    "gpg": "needs the key of who released; scripts/release-test signs and verifies by one of its own",
    "sha256sum": "needs a release; scripts/release-test runs it",
}
# A configuration of h2o's, as README wants one in the working directory.
H2O = """listen: {host: 127.0.0.1, port: {port}}
num-threads: 1
error-log: /dev/stderr
hosts: {default: {paths: {/: {file.dir: %s}}}}
"""
# Built and run by .ci/run (or, as it says there, on demand).
BY_CI = ("apt-get", "make", "sh", "mkdir", "cd", "tar")


class Place:
    """A directory in which the system's stand, and what to put in place of words."""

    def __init__(self):
        self.root = wire.tempfile.mkdtemp(prefix="bivalve-doc-", dir=wire.TMP)
        os.chmod(self.root, 0o755)
        for name in ("run/bivalve", "var/log/bivalve", "etc/bivalve", "srv/www", "bin", "work", "old", "new"):
            os.makedirs(os.path.join(self.root, name))
        always = " ".join("'%s'" % o for o in wire.ALWAYS)
        for name, program, options in (("bin/bivalve", wire.binary(), always),
                                       ("bin/bivalve-load", wire.binary() + "-load", ""),
                                       ("bin/bivalve-bench", os.path.join(documents.TOP, "scripts", "bivalve-bench"), ""),
                                       ("work/old/bivalve", wire.binary(), always), ("work/new/bivalve", wire.binary(), always)):
            path = os.path.join(self.root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write("#!/bin/sh\nexec '%s' %s \"$@\"\n" % (program, options))
            os.chmod(path, 0o755)
        if wire_tls.available():
            made = wire_tls.Certificates()
            for name, source in (("chain.pem", made.cert), ("key.pem", made.key)):
                shutil.copy(source, os.path.join(self.root, "etc/bivalve", name))
            shutil.copytree(made.dir, os.path.join(self.root, "work/trial"))
            made.close()
        www = os.path.join(self.root, "srv/www")
        with open(os.path.join(www, "index.html"), "w", encoding="utf-8") as f:
            f.write("ok")
        for name in (os.path.dirname(www), www, f.name):    # started by root, it reads them as another
            os.chmod(name, 0o755)
        with open(os.path.join(self.root, "work/h2o.conf"), "w", encoding="utf-8") as f:
            f.write(H2O % www)
        shutil.copy(os.path.join(documents.TOP, "packaging", "bivalve.conf"), os.path.join(self.root, "etc/bivalve"))
        self.environment = dict(os.environ, PATH=os.path.join(self.root, "bin") + ":" + os.environ["PATH"])

    def put(self, words):
        out = []
        for word in words:
            word = re.sub(r"(?<![A-Za-z0-9])/(run|var/log|etc|srv)/(bivalve|www)", self.root + r"/\1/\2", word)
            word = re.sub(r"^([0-9.]+|\[::1?\]):[0-9]+", lambda m: m.group(1).replace("0.0.0.0", "127.0.0.1").replace(
                "[::]", "[::1]") + ":0", word)
            out.append(word)
        while "--user" in out:
            del out[out.index("--user"):out.index("--user") + 2]
        return out

    def popen(self, words, **more):
        return subprocess.Popen(words, cwd=os.path.join(self.root, "work"), env=self.environment, stdin=subprocess.DEVNULL,
                                universal_newlines=True, start_new_session=True, **more)

    def run(self, words, timeout=120, but=None):
        """To its end; it has to succeed, or to fail with what `but` matches."""
        with self.popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                said = process.communicate(timeout=timeout)[0]
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                said = process.communicate()[0]
                raise AssertionError("%s does not end: %s" % (words, said)) from None
        assert process.returncode == 0 or but and re.search(but, said), "%s: exit status %d: %s" % (words, process.returncode, said)
        return said


class Started:
    """The server, started by a line of a document."""

    def __init__(self, place, words):
        self.log_path = os.path.join(place.root, "log")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = place.popen(words, stdout=log, stderr=log)
        wire.wait_until("the start line of %s" % words, lambda: "listening on" in self.log() or self.process.poll() is not None)
        assert self.process.poll() is None, "%s does not start: %s" % (words, self.log())
        where = re.search(r"listening on (\S+?)[,;]?(\s|$)", self.log()).group(1)
        self.family, self.address = wire.parse_address(where)
        self.tls = "--tls-listen" in words
        self.proxied = any(word.endswith(",proxy") for word in words)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def answers(self):
        with wire.socket.socket(self.family, wire.socket.SOCK_STREAM) as sock:
            sock.settimeout(wire.HANG_S)
            sock.connect(self.address)
            if self.tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                sock = context.wrap_socket(sock)
            with sock:
                sock.sendall(wire.PROBE)
                answer = b""
                while b"\r\n\r\nok" not in answer:
                    data = sock.recv(4096)
                    assert data, "no answer: %r" % answer
                    answer += data

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(wire.HANG_S * 2)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        assert status == 0, self.log()


@pytest.fixture(scope="module")
def place():
    made = Place()
    yield made
    shutil.rmtree(made.root)


def needs_tls(words):
    if not wire_tls.available() and any("tls" in word for word in words):
        pytest.skip("built without OpenSSL")


def serve(place, words):
    started = Started(place, words)
    try:
        if not started.proxied:           # that the proxy's header is needed, test_proxy.py knows
            started.answers()
    finally:
        started.stop()


def bivalve(place, words):
    needs_tls(words)
    if "--make-test-cert" in words and not wire_tls.available():
        pytest.skip("built without OpenSSL")
    if "syslog" in words and not os.path.exists("/dev/log"):
        pytest.skip("there is no /dev/log")
    words = place.put(words)
    if "--make-test-cert" in words:
        shutil.rmtree(os.path.join(place.root, "work", words[-1]), ignore_errors=True)
    if "--status" in words:
        started = Started(place, ["bivalve", "-l", "127.0.0.1:0", "--admin", place.put(["unix:/run/bivalve/admin"])[0]])
        try:
            place.run([words[0]] + (["--admin", place.put(["unix:/run/bivalve/admin"])[0]] if "--admin" not in words else [])
                      + [w for w in words[1:] if w != "--watch"])
        finally:
            started.stop()
    elif {"--probe", "--make-test-cert", "--test", "--version", "--help"} & set(words):
        place.run(words)
    else:
        if not {"-l", "--listen", "--tls-listen", "--config"} & set(words):
            words = words[:1] + ["-l", "127.0.0.1:0"] + words[1:]
        serve(place, words)


def load(place, words):
    """Shorter, and at a rate that any machine can do."""
    started = Started(place, ["bivalve", "-l", "127.0.0.1:0", "--workers", "1"])
    try:
        shorter = {"-d": "1s", "-R": "100", "--slo-p99": "10s"}
        words = [shorter[before] if before in shorter else word for before, word in zip([""] + words, words)]
        words = [word.replace("127.0.0.1:8080", "127.0.0.1:%d" % started.address[1]) for word in words]
        place.run(words if "-d" in words or "--slo-p99" in words else words + ["-d", "1s"])
    finally:
        started.stop()


def bench(place, words):
    """One pair of slices of a second; what reads results is given those, under the names that the document has."""
    quick = ["--pairs", "1", "--seconds", "1", "--profile", "pipelined", "--conns", "1", "--idle", "0", "--max-foreign", "1000",
             "--no-half-rate", "--quiet"]
    backends = ["--backend", "epoll", "--backend", "libev"] if {"epoll", "libev"} <= set(wire.backends()[0]) else []
    if "ssh host" in words:       # the other machine is this one
        words = ["env" if word == "ssh host" else word for word in words] + ["--address", "127.0.0.1"]
    if any(word.startswith("h2o=") for word in words) and not shutil.which("h2o"):
        pytest.skip("h2o is not on the PATH (Debian: apt install h2o)")
    if words[1] == "compare":
        if "--server" not in words and not backends:       # README names these two as well
            pytest.skip("needs epoll and libev")
        place.run(words + quick + ([] if {"--server", "--backend"} & set(words) else backends))
    elif words[1] in ("diff", "merge", "export", "report"):
        results = os.path.join(place.root, "results")
        if not os.path.exists(results):
            if not backends:
                pytest.skip("needs epoll and libev")
            place.run(["bivalve-bench", "compare", "--out", results] + quick + backends)
        for name in words[2:]:
            if name.isupper():
                shutil.copytree(results, os.path.join(place.root, "work", name), dirs_exist_ok=True)
        place.run(words, but="no row could be judged, for want of starts")
    else:
        place.run(words)


def curl(place, words):
    started = Started(place, ["bivalve", "-l", "127.0.0.1:0", "--workers", "1"])
    try:
        place.run([word.replace("127.0.0.1:8080", "127.0.0.1:%d" % started.address[1]) for word in words])
    finally:
        started.stop()


def target_exists(words):
    """make's targets; TESTS names files of the tree, or programs of it."""
    with open(os.path.join(documents.TOP, "Makefile.am"), encoding="utf-8") as f:
        makefile = f.read()
    for word in words:
        name, _, value = word.partition("=")
        if name == "TESTS":
            assert os.path.exists(os.path.join(documents.TOP, value)) or os.path.exists(
                os.path.join(documents.TOP, value + ".c")), value
        elif "=" not in word:
            assert word in ("check", "install", "dist", "distcheck", "clean") or re.search(
                "^%s:" % re.escape(word), makefile, re.M), word


def in_tree(words):
    """A script of the project, with options that it knows."""
    path = re.sub(r"^\./|^\.\./bivalve/", "", words[0])
    if path == "configure":
        path = "configure.ac"
    assert os.path.exists(os.path.join(documents.TOP, path)), path
    for word in words[1:]:
        if word.startswith("--"):
            assert path == "configure.ac" or documents.script_knows(path, word), word


def packages(words):
    """The list that the documents give is the one that the scripts install."""
    with open(os.path.join(documents.TOP, "scripts", "lib.sh"), encoding="utf-8") as f:
        listed = " ".join(re.findall(r'^PACKAGES_BUILD="(.*)"', f.read(), re.M)).replace("$PACKAGES_BUILD", "").split()
    assert sorted(word for word in words if word not in ("apt-get", "install", "--no-install-recommends")) == sorted(listed)


@pytest.mark.parametrize("where,words", COMMANDS, ids=["%s %s" % (where, " ".join(words)[:60]) for where, words in COMMANDS])
def test_command(place, where, words):
    while words[0] == "sudo" or re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    first = words[0]
    runs = {"bivalve": bivalve, "bivalve-load": load, "bivalve-bench": bench, "curl": curl}
    if first in runs:
        runs[first](place, words)
    elif first == "apt-get":
        packages(words)
    elif first == "make":
        target_exists(words[1:])
    elif first == "sh":
        in_tree(words[1:])
    elif "/" in first:
        in_tree(words)
    else:
        assert first in NOT_RUN or first in BY_CI, "%s: nothing here knows how to run %s" % (where, " ".join(words))
        for word in words[1:]:
            if re.match(r"(scripts|doc|packaging)/", word):
                assert os.path.exists(os.path.join(documents.TOP, word)), word


def test_blocks_are_found():
    text = "a\n\n    one   # two\n    three && four\n\n```yaml\nx: y\n```\nb\n\n```\nz\n```\n"
    assert [(kind, block) for kind, _, block in documents.blocks(text)] == [
        ("sh", "one   # two\nthree && four\n"), ("yaml", "x: y\n"), ("text", "z\n")]
    assert list(documents.commands("one   # two\nthree 'f # g' && four \\\n  five\n")) == [
        ["one"], ["three", "f # g"], ["four", "five"]]
    assert len(COMMANDS) > 40
    assert {words[0] for _, words in COMMANDS} >= {"bivalve", "bivalve-load", "bivalve-bench", "scripts/test"}
