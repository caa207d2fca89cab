# SPDX-License-Identifier: MIT
"""Servers and load on two machines: a stand-in for ssh, here and into another network namespace."""
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import TOOL, bench, tiny
from test_tool import assert_nothing_left

from bench import apart, far, sampler, side
from bench.errors import BenchError

# As ssh(1): one string for a shell over there, what a login says first, and who called whom.
SSH = """#!/bin/sh
host=$1
shift
SSH_CONNECTION="{client} 40000 {server} 22"
export SSH_CONNECTION
echo "Welcome to $host."
exec {enter} sh -c "$*"
"""
SERVER, LOAD = "198.18.7.1", "198.18.7.2"  # RFC 2544's, for measurements
BURN_US = 2000


def stand_in(folder, client="127.0.0.1", server="127.0.0.1", enter=""):
    """The prefix."""
    path = folder / f"ssh-{client}-{server}"
    path.write_text(SSH.format(client=client, server=server, enter=enter))
    path.chmod(0o755)
    return f"{path} over-there"


@pytest.fixture
def there(tmp_path):
    host = far.Far(stand_in(tmp_path), "there", str(tmp_path / "log"))
    yield host
    host.close()


def finished(host, pid):
    end = time.monotonic() + 60
    while host.call("state", pid)[0]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_words_arrive_as_they_are(there):
    words = ["a b", "$HOME", "it's", 'say "x"', "*", "back\\slash", "ä;&|"]
    argv = [sys.executable, "-c", "import sys,json;print(json.dumps(sys.argv[1:]))", *words]
    nursery = far.FarNursery(there)
    child = nursery.spawn(argv, "words", env={"PYTHONIOENCODING": "utf-8"})
    finished(there, child.pid)
    assert not child.running() and child.pss() is None
    assert nursery.stop(child) == 0 and json.loads(child.stdout()) == words


def test_the_clock_over_there_is_known_to_half_a_round_trip(there):
    there.sync()  # the same machine: the same clock
    assert abs(there.offset) <= there.uncertainty + 1e-6 < 10


def test_an_answer_that_nobody_waits_for_is_passed_over(there):
    there._send(b'{"do": "find_program", "with": ["sh"], "number": 0}\n')  # interrupted here
    assert isinstance(there.call("monotonic"), float)


def test_what_goes_wrong_over_there_is_said(there, tmp_path):
    with pytest.raises(BenchError, match="there: cannot run /no/such"):
        there.call("spawn", ["/no/such"], "x", [], False, None)
    with pytest.raises(BenchError, match="is not an address of the machine"):
        there.call("open_ports", None, "198.51.100.1")
    assert there.call("reaches", "127.0.0.1", 1) == "Connection refused"
    log = str(tmp_path / "log2")
    with pytest.raises(BenchError, match="no such command"):
        far.Far("/no/such/ssh host", "there", log)
    with pytest.raises(BenchError, match="(?s)ended .exit status 255.*Permission denied"):
        far.Far("sh -c 'echo Permission denied >&2; exit 255'", "there", log)


def test_a_lost_connection_ends_everything_over_there(tmp_path):
    host = far.Far(stand_in(tmp_path), "there", str(tmp_path / "log"))
    marker = f"{tmp_path}/marker"
    argv = [sys.executable, "-c", "import time;time.sleep(600)", marker]
    pid = host.call("spawn", argv, "sleeper", [], False, None)
    folder = host.call("describe")["folder"]
    assert host.call("state", pid)[0] and os.path.isdir(folder)
    host.popen.stdin.close()
    assert_nothing_left(marker)
    host.popen.wait(30)
    assert not os.path.exists(folder)
    host.close()


def wait_for_words(host, pid, count):
    end = time.monotonic() + 120
    while True:
        words = host.call("output", pid)[0].split()
        if len(words) >= count:
            return words
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_side_measures_its_own_processes(there, tmp_path):
    """The truth is what the process says of itself."""
    code = (
        "import os,sys,time\n"
        "print('up',flush=True)\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "b=time.process_time()\n"
        "while time.process_time()-b<0.3: pass\n"
        "print(time.process_time()-b,flush=True)\n"
        "time.sleep(600)\n"
    )
    go = tmp_path / "go"
    pid = there.call("spawn", [sys.executable, "-c", code, str(go)], "burner", [], False, None)
    wait_for_words(there, pid, 1)
    there.call("watch_begin", pid, [], 1)
    go.touch()
    said = float(wait_for_words(there, pid, 2)[1])
    got = there.call("watch_end", pid)
    used = (got["cpu"][-1][1] - got["cpu"][0][1]) / 1e9
    assert said - 0.02 <= used <= said + 0.5  # and what waiting for the go took
    assert got["pss_peak"] > 1 << 20 and got["started"] < got["ended"]


def test_the_sides_are_put_together_in_the_load_s_clock():
    """A server's machine whose clock is 1000 s ahead: 0.5 CPUs from its second 1002 to 1004."""
    cpu = [[1000 + t, 0.5e9 * min(max(t - 2, 0), 2)] for t in range(7)]
    flat = [[1000.0, 0, 0], [1006.0, 0, 0]]
    of_server = {
        "cpu": cpu,
        "split": flat,
        "switches": flat,
        "opens": [],
        "own": [[1000.0, 0], [1006.0, 6e8]],
        "busy": {"0": [[1000.0, 0, 0], [1006.0, 6e9, 0]]},
        "connected": 1001.5,
        "exact": True,
        "pss_peak": 7,
        "group_peak": None,
    }
    of_load = {
        "cpu": [[0.0, 0], [6.0, 3e9]],
        "opens": [[0.0, 5], [6.0, 11]],
        "own": [[0.0, 0], [6.0, 6e8]],
        "busy": {"0": [[0.0, 0, 0], [6.0, 3e9, 6e9]]},
        "started": 0.5,
        "ended": 6.0,
        "threads_up": None,
        "epoch_offset": 0.0,
    }
    job = type("Job", (), {"seconds": 2})
    watch = apart.put_together(of_server, of_load, -1000.0, job)
    assert watch.server.delta(2, 4)[0] == pytest.approx(1e9)
    assert watch.server.delta(0, 2)[0] == 0 and watch.load.delta(2, 4)[0] == pytest.approx(1e9)
    assert watch.opens.delta(0, 6)[0] == 6 and watch.seen.connected == 1.5
    # The two CPUs 0 are two CPUs.
    assert watch.load_keys == {("load", 0)} and len(watch.busy) == 2
    assert watch.busy["server", 0].delta(2, 4) == (pytest.approx(2e9), 0)
    assert watch.busy["load", 0].delta(2, 4) == (pytest.approx(1e9), pytest.approx(2e9))
    late = apart.put_together(dict(of_server, connected=None), of_load, -1000.0, job)
    assert not late.all_connected
    assert late.seen.connected == 0.5 + sampler.WAIT_SHARE * 2


def test_nothing_but_its_own_methods_is_answered(tmp_path):
    class Nothing:
        def hello(self, name):
            return "hello " + name

    line = '{"do": "hello", "with": ["you"], "number": 4}'
    assert side.answer(Nothing(), line) == {"ok": "hello you", "number": 4}
    for line in ('{"do": "__class__", "with": [], "number": 5}', '{"do": "no", "with": []}', "{", "[]"):
        assert "error" in side.answer(Nothing(), line)


@pytest.mark.parametrize(
    "more, why",
    [
        (["--server-prefix", "env"], "--address ADDRESS is needed"),
        (["--address", "127.0.0.1"], "--address is for"),
        (["--server-prefix", "env", "--counts"], "are for one machine"),
        (["--load-prefix", "false"], "python3 is needed over there"),
        (["--load-prefix", "env", "--address", "198.51.100.1"], "is not an address of the machine"),
    ],
)
def test_what_cannot_work_on_two_machines_is_said(more, why, bivalve, tmp_path):
    sides = ["--server", "a=true {port}", "--server", "b=true {port}", "--bivalve", bivalve]
    env = {k: v for k, v in os.environ.items() if k != "SSH_CONNECTION"}
    done = bench("compare", *sides, *more, cwd=tmp_path, env=env)
    assert done.returncode == 1 and why in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def namespaces():
    """Names of two network namespaces that see each other over a veth pair, and nothing else."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces are for root")
    if not shutil.which("ip"):
        pytest.skip("ip is not on the PATH (Debian: apt install iproute2)")
    names = [f"bivalve-{os.getpid()}-{what}" for what in ("server", "load")]
    made = []
    try:
        for name in names:
            done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no network namespace can be made here: {done.stderr.strip()}")
            made.append(name)
        one, other = names
        commands = [f"ip link add veth0 netns {one} type veth peer name veth0 netns {other}"]
        for name, address in zip(names, (SERVER, LOAD)):
            commands.append(f"ip -n {name} address add {address}/24 dev veth0")
            commands += [f"ip -n {name} link set {dev} up" for dev in ("lo", "veth0")]
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"{command}: {done.stderr.strip()}")
        yield names
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.mark.parametrize("far_side", ["server", "load"])
def test_two_network_namespaces(far_side, namespaces, bivalve, tmp_path):
    """The tool is in one, a side of the measurement in the other."""
    server_ns, load_ns = namespaces
    home, away = (load_ns, server_ns) if far_side == "server" else (server_ns, load_ns)
    here, over_there = (LOAD, SERVER) if far_side == "server" else (SERVER, LOAD)
    prefix = stand_in(tmp_path, here, over_there, f"ip netns exec {away}")
    peers = tmp_path / "peers"
    argv = ["ip", "netns", "exec", home, sys.executable, TOOL, "compare"]
    argv += [f"--{far_side}-prefix", prefix, "--bivalve", bivalve]
    for name in ("one", "two"):
        argv += ["--server", f"{name}={tiny('host={address}', f'burn={BURN_US}', f'peers={peers}')}"]
    argv += "--profile baseline --conns 4 --pairs 1 --idle 0 --no-half-rate".split()
    argv += "--max-foreign 1000 --out out".split()
    done = subprocess.run(
        argv, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    with open(tmp_path / "out" / "results.json", encoding="utf-8") as f:
        got = json.load(f)
    assert got["apart"]["address"] == SERVER and got["apart"][f"{far_side}_prefix"] == prefix
    assert "two machines" in done.stdout and got["generator"]["name"] == "bivalve-load"
    assert LOAD in peers.read_text().split()
    for s in got["cells"][0]["slices"]:
        assert s["problems"] == [] and s["requests"] > 0
        # Each side's CPU time is its own: the server's is known, the load's is much less.
        assert BURN_US * 0.95 <= s["cpu_us"] <= BURN_US * 2
        assert 0 < s["load_cpus"] / s["rps"] * 1e6 < BURN_US / 2
        assert 0 < s["server_cpus"] <= 1.1 and s["pss_bytes"] > 1 << 20
    logs = os.listdir(tmp_path / "out" / "logs")
    assert f"{far_side}-side.err" in logs and any(n.startswith("one-") for n in logs)
    assert_nothing_left(str(tmp_path))


def test_killed_outright_it_leaves_nothing_over_there(bivalve, tmp_path):
    argv = ["compare", "--bivalve", bivalve, "--server-prefix", stand_in(tmp_path), "--quiet"]
    for name in ("a", "b"):
        argv += ["--server", f"{name}=" + tiny(f"at={tmp_path}")]
    argv += "--profile baseline --conns 2 --pairs 50 --idle 0 --out out".split()
    tool = subprocess.Popen(
        [sys.executable, TOOL, *argv], cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + 60
    while not running(f"at={tmp_path}"):
        assert tool.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    tool.send_signal(signal.SIGKILL)
    tool.wait()
    assert_nothing_left(str(tmp_path))


def running(marker):
    done = subprocess.run(["pgrep", "-f", shlex.quote(marker)], capture_output=True, text=True)
    return bool(done.stdout.split())
