# SPDX-License-Identifier: MIT
"""The servers under comparison: how each is started, and that it answers before it is measured."""
import os
import re
import shlex
import socket
import time

from . import httpclient, procfs
from .assets import Needs
from .errors import BenchError
from .profiles import Request

START_LIMIT_S = 20.0
FOREIGN_LIMIT_S = 2.0  # how long a server may leave its port to another process
FIRST_PORT = 18080
START_LINE = re.compile(
    r"bivalve (?P<version>\S+) listening on (?P<addr>.*?)[,;] workers (?P<workers>[^,]+), "
    r"backend (?P<backend>\S+)(?: \((?P<features>[^)]*)\))?(?:, kernel (?P<kernel>.*))?$",
    re.M,
)
STATS_LINE = re.compile(r"stats worker=all (.*)$", re.M)


URL = re.compile(r"http://(?P<host>\[[^\]/]+\]|[^/:\[\]@]+):\{port\}(?P<target>/\S*)?", re.A)
CONFIG_WORD = re.compile(r"\{config:([^{}]+)\}")


class Contender:
    """One side of a comparison: a name and how to build its command line."""

    def __init__(self, name, words, backend=None):
        self.name = name
        self.words = words  # with {port}, perhaps {address} and others: see command()
        self.url = None  # the Request that it gets in place of a profile's own, or None
        self.backend = backend  # the backend asked for with --backend, else None
        self.about = {}  # what its start line said

    def safe_name(self):
        """The name as part of a file's."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", self.name)

    def command(
        self, port, per_connection, workers, folder, address="127.0.0.1", needs=Needs()
    ):
        """argv. Where the server has to end connections, `per_connection` is how many requests it
        takes. `folder` is made where the server needs files of its own. `needs`: what the profile
        wants of it, an assets.Needs."""
        values = {
            "www": needs.www,
            "cert": needs.cert,
            "key": needs.key,
            "port": str(port),
            "max_requests": str(per_connection),
            "workers": str(workers),
            "dir": folder,
            "address": f"[{address}]" if ":" in address else address,
        }
        if self.has_files():
            os.makedirs(folder, exist_ok=True)
        return [
            fill(CONFIG_WORD.sub(lambda m: write_config(m[1], values), w), values)
            for w in self.given(needs)
        ]

    def has_files(self):
        """Whether it needs a folder of its own on the machine where it runs."""
        return any("{dir}" in t or CONFIG_WORD.search(t) for t in self.texts())

    def given(self, needs):
        """The words; bivalve, whose options are known, gets those that the profile asks for."""
        words = list(self.words)
        if not self.backend:
            return words
        if needs.cert:
            words[words.index("--listen")] = "--tls-listen"
            words += ["--tls-cert", "{cert}", "--tls-key", "{key}"]
        return words + (["--static", "{www}"] if needs.www else [])

    def texts(self):
        """The words, and the files they name by {config:FILE}."""
        files = [m[1] for w in self.words for m in CONFIG_WORD.finditer(w)]
        return self.words + [read_config(f) for f in files]

    def limits_itself(self):
        """Whether its command line can be told to end connections."""
        return any("{max_requests}" in t for t in self.texts())

    def ask_url(self, url):
        """From now on it is asked for this URL, by GET."""
        m = URL.fullmatch(url)
        if not m:
            raise BenchError(
                f"--url {self.name}={url}: http://HOST:{{port}}/PATH is needed; the tool chooses"
                " the port, on 127.0.0.1, and sends HOST in the Host field"
            )
        self.url = Request(f"url-{self.safe_name()}", "GET", m["target"] or "/", host=m["host"])

    def asks(self, profile):
        """The profile as this server gets it."""
        return profile.asking(self.url, self.safe_name()) if self.url else profile


def fill(text, values):
    for k, v in values.items():
        text = text.replace("{%s}" % k, v)
    return text


def read_config(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except (OSError, UnicodeDecodeError) as e:
        raise BenchError(f"{{config:{path}}}: {getattr(e, 'strerror', None) or e}") from None


def write_config(path, values):
    """A copy of a server's configuration with its values filled in; returns its path."""
    copy = os.path.join(values["dir"], os.path.basename(path))
    with open(copy, "w", encoding="utf-8") as f:
        f.write(fill(read_config(path), values))
    return copy


class Bivalve:
    """Where the server under test is and how a backend is started with it."""

    def __init__(self, path, dataset=None, extra=(), pin=True, as_root=None):
        self.path, self.dataset, self.extra, self.pin = path, dataset, list(extra), pin
        self.as_root = os.geteuid() == 0 if as_root is None else as_root

    def contender(self, backend, name):
        words = [
            self.path,
            "--listen",
            "{address}:{port}",
            "--backend",
            backend,
            "--workers",
            "{workers}",
            "--pin" if self.pin else "--no-pin",
            "--max-requests",
            "{max_requests}",
        ]
        if self.dataset:
            words += ["--dataset", self.dataset]
        if self.as_root:
            words.append("--allow-root")  # for the length of a measurement
        return Contender(name, words + self.extra, backend)


def from_command(text):
    """A Contender from NAME=COMMAND."""
    name, eq, command = text.partition("=")
    if not eq or not re.fullmatch(r"[A-Za-z0-9_.:+#@ -]+", name):
        raise BenchError(
            f"--server {text!r}: NAME=COMMAND is needed, the name of letters, digits and _.:+#@-"
        )
    try:
        words = shlex.split(command)
    except ValueError as e:
        raise BenchError(f"--server {name}: {e}") from None
    if not words:
        raise BenchError(f"--server {name}: the command is empty")
    found = Contender(name, words)
    if not any("{port}" in t for t in found.texts()):
        raise BenchError(
            f"--server {name}: no {{port}} in the command or in its {{config:FILE}}; the tool"
            " chooses the port"
        )
    return found


def distinct_names(contenders):
    """A second contender of the same name gets #2, so that a server can be compared with itself."""
    seen = {}
    for c in contenders:
        seen[c.name] = seen.get(c.name, 0) + 1
        if seen[c.name] > 1:
            c.name = f"{c.name}#{seen[c.name]}"
    return contenders


def address_is_here(address):
    """Whether a socket can be bound to it."""
    try:
        socket.create_server(
            (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET
        ).close()
        return True
    except OSError:
        return False


def port_free(port, address="127.0.0.1"):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind((address, port))
        s.listen(1)
        return True
    except OSError:
        return False
    finally:
        s.close()


class Ports:
    """Hands out listening ports: from `base` on as told, else free ones outside the range of
    outgoing connections."""

    def __init__(self, base=None, address="127.0.0.1"):
        self.base, self.address = base, address
        # Two tools at work start looking at different places: between looking and binding lies time.
        self.next = base or FIRST_PORT + os.getpid() % 1024 * 8

    def reserve(self, count):
        """The given ports must be free before anything starts."""
        if self.base:
            for port in range(self.base, self.base + count):
                if not port_free(port, self.address):
                    raise BenchError(
                        f"port {port} is in use: choose another with --port, or leave --port out"
                    )

    def take(self, which):
        """The port of the contender with this number."""
        if self.base:
            return self.base + which
        low, high = outgoing_range()
        for _ in range(65536):
            port = self.next
            self.next = self.next + 1 if self.next < 65535 else 1024
            if not low <= port <= high and port_free(port, self.address):
                return port
        raise BenchError(f"no free port on {self.address}")

    def wait_free(self, port):
        return wait_port_free(port, self.address)


def outgoing_range():
    words = procfs.read_text("/proc/sys/net/ipv4/ip_local_port_range").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else (32768, 60999)


class Server:
    """A running contender."""

    def __init__(self, contender, child, port, address):
        self.contender, self.child, self.port, self.address = contender, child, port, address
        self.name, self.pid, self.group = contender.name, child.pid, child.group

    def check_alive(self):
        if not self.child.running():
            raise BenchError(
                f"{self.name} died ({exit_text(self.child.popen.returncode)}); its last words:\n"
                f"{self.child.tail() or '    (none)'}"
            )

    def counters(self, nursery_signal, limit_s=5.0):
        """bivalve's own counters ({name: value}), from the line it logs on SIGUSR1; None when it
        logs none."""
        before = len(STATS_LINE.findall(self.child.stderr()))
        os.kill(self.pid, nursery_signal)
        end = time.monotonic() + limit_s
        while time.monotonic() < end and self.child.running():
            lines = STATS_LINE.findall(self.child.stderr())
            if len(lines) > before:
                return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", lines[-1])}
            time.sleep(0.02)
        return None


def exit_text(status):
    return f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"


def start(
    contender,
    lab,
    per_connection=0,
    which=0,
    prefix=(),
    limit_s=START_LIMIT_S,
    workers=None,
    profiles=(),
):
    """Start the contender and wait until it accepts connections. `prefix` wraps its command
    (valgrind, strace). `profiles`: those that it will be asked for."""
    port = lab.ports.take(which)
    if lab.ports.base and not lab.ports.wait_free(port):
        raise BenchError(f"port {port} is in use: choose another with --port")
    lab.starts += 1
    tag = f"{contender.safe_name()}-{lab.starts:03d}"
    argv = list(prefix) + contender.command(
        port,
        per_connection,
        lab.workers if workers is None else workers,
        os.path.abspath(os.path.join(lab.out_dir, "servers", tag)),
        lab.address,
        lab.assets.needs(profiles),
    )
    program = lab.find_program(argv[0])
    if lab.apart:
        argv[0] = program or argv[0]
    if not program:
        raise BenchError(
            f"{contender.name}: cannot run {argv[0]}: not an executable file, nor one on the PATH"
        )
    group = lab.groups.make()
    log = os.path.join(lab.log_dir, tag)
    try:
        child = lab.server_nursery.spawn(argv, log, cpus=lab.server_cpus, group=group)
    except OSError as e:
        if group:
            group.remove()
        raise BenchError(f"{contender.name}: cannot run {argv[0]}: {e.strerror}") from None
    server = Server(contender, child, port, lab.address)
    end = time.monotonic() + limit_s
    while True:
        if not child.running():
            status = lab.server_nursery.finished(child)
            raise BenchError(
                f"{contender.name} ended at start ({exit_text(status)}): {shlex.join(argv)}\n"
                f"{child.tail() or '    (it said nothing)'}"
            )
        try:
            socket.create_connection((lab.address, port), 0.5).close()
            answered = True
        except OSError:
            answered = False
        if answered:
            # Another server's port would answer as well, and its figures pass for this one's.
            if child.listens(port) is not False:
                break
            end = min(end, time.monotonic() + FOREIGN_LIMIT_S)
        if time.monotonic() > end:
            lab.server_nursery.stop(child)
            why = (
                f"port {port} is answered by a process that is not {contender.name}'s: a server"
                " has to stay in the foreground, and the port has to be its own"
                if answered
                else f"{contender.name} did not listen on {lab.address}:{port} within {limit_s:.0f} s"
            )
            raise BenchError(f"{why}: {shlex.join(argv)}\n{child.tail()}")
        time.sleep(0.02)
    try:
        lab.check_reach(server)
    except BaseException:
        lab.server_nursery.stop(child)
        raise
    note_start_line(server)
    return server


def wait_port_free(port, address="127.0.0.1", limit_s=2.0):
    end = time.monotonic() + limit_s
    while not port_free(port, address):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def note_start_line(server, limit_s=2.0):
    """Keep what bivalve says of itself at start. It may accept a moment before it has said so."""
    end = time.monotonic() + (limit_s if server.contender.backend else 0)
    while True:
        m = START_LINE.search(server.child.stderr() or server.child.stdout())
        if m:
            server.contender.about = {k: v for k, v in m.groupdict().items() if k != "addr" and v}
        if m or time.monotonic() > end:
            return
        time.sleep(0.02)


def stop(server, lab):
    """End the server. Only a death before it was asked to end is an error."""
    died = None if server.child.running() else server.child.popen.returncode
    lab.server_nursery.stop(server.child)
    if died is not None:
        raise BenchError(
            f"{server.name} died ({exit_text(died)}); its last words:\n{server.child.tail()}"
        )


def check(server, profile, server_closes):
    """Insist on right answers; returns check_profile()'s prediction."""
    try:
        return httpclient.check_profile(
            server.port, server.contender.asks(profile), server_closes, server.address
        )
    except httpclient.Wrong as e:
        server.check_alive()
        raise BenchError(
            f"{server.name} does not answer profile {profile.name} correctly: {e}"
        ) from None
