# SPDX-License-Identifier: MIT
"""What doc/operating.md and packaging/container give to copy, tried: the options, nginx and HAProxy in front of the server,
the filter of system calls, the deployment."""

import json
import os
import re
import shutil
import subprocess

import admin
import documents
import pytest
import wire

CONTAINER = os.path.join(documents.TOP, "packaging", "container")


def check_config(path, directory):
    """The server would start with that options file; what it names in the system is put into the directory."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for name in ("etc/bivalve", "run/bivalve", "run/credentials/bivalve.service", "var/log/bivalve"):
        os.makedirs(os.path.join(directory, name), exist_ok=True)
    if "tls-" in text and "TLS: OpenSSL" not in wire.run("--version").stdout:
        pytest.skip("built without OpenSSL")
    if "tls-" in text:
        made = os.path.join(directory, "made")
        assert wire.run("--make-test-cert", made).returncode == 0
        shutil.copy(os.path.join(made, "cert.pem"), os.path.join(directory, "etc/bivalve/chain.pem"))
        shutil.copy(os.path.join(made, "key.pem"), os.path.join(directory, "run/credentials/bivalve.service/tls.key"))
    text = re.sub(r"(?<![A-Za-z0-9])/(etc|run|var)/", directory + r"/\1/", text)
    text = re.sub(r":\d+(?=[,\s])", ":0", text)
    with open(os.path.join(directory, "conf"), "w", encoding="utf-8") as f:
        f.write(text)
    done = wire.run("--test", "--config", os.path.join(directory, "conf"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where,text", list(documents.fenced("bivalve.conf")), ids=lambda value: value.split("\n")[0])
def test_options(where, text, tmp_path):
    (tmp_path / "in").write_text(text)
    check_config(str(tmp_path / "in"), str(tmp_path))


@pytest.mark.parametrize("where,text", list(documents.fenced("json")), ids=lambda value: value[:20])
def test_json(where, text):
    for line in text.splitlines():
        json.loads(line)


def free_port():
    with wire.socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def asked_through(proxy_on, tries=5):
    """What a client gets by way of a proxy, twice on one connection. proxy_on(port) is its command line there: it
    ends at once if somebody has taken the port meanwhile, and is started on another one."""
    for left in reversed(range(tries)):
        port = free_port()
        process = subprocess.Popen(proxy_on(port), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)

        def connect():
            if process.poll() is not None:
                return True
            try:
                return wire.socket.create_connection(("127.0.0.1", port), wire.HANG_S)
            except OSError:
                return None
        try:
            s = wire.wait_until("the proxy", connect)
            if s is not True:
                with s:
                    client = wire.Client(s)
                    return [client.get("/baseline11?a=13&b=%d" % b).body for b in (42, 43)]
            assert left, process.stderr.read()
        finally:
            process.terminate()
            process.communicate()


def only(kind):
    (_, text), = documents.fenced(kind)
    return text


def test_nginx(tmp_path):
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not nginx:
        pytest.skip("there is no nginx")
    with wire.Server(None) as server:
        where = str(tmp_path)
        temporary = "".join("%s_temp_path %s/%s;\n" % (name, where, name) for name in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))

        def nginx_on(port):
            site = only("nginx").replace("127.0.0.1:8080", "127.0.0.1:%d" % server.addr[1][1]).replace(
                "listen 8000;", "listen 127.0.0.1:%d;" % port)
            (tmp_path / "conf").write_text(
                "daemon off; master_process off; pid %s/pid; error_log %s/error.log;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n"
                % (where, where, temporary, site))
            return [nginx, "-p", where, "-c", where + "/conf"]

        assert asked_through(nginx_on) == [b"55", b"56"]


def test_haproxy(tmp_path):
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not haproxy:
        pytest.skip("there is no haproxy")
    log = str(tmp_path / "access.log")
    with wire.Server(None, "--admin", "127.0.0.1:0", "--access-log", log, listen=("127.0.0.1:0,proxy",)) as server:
        view = int(re.search(r"the view inside is on 127\.0\.0\.1:(\d+)", server.log()).group(1))

        def haproxy_on(port):
            text = only("haproxy").replace("127.0.0.1:8080", "127.0.0.1:%d" % server.addr[1][1]).replace(
                "port 9180", "port %d inter 200" % view).replace("127.0.0.1:8000", "127.0.0.1:%d" % port)
            (tmp_path / "conf").write_text(text)
            return [haproxy, "-db", "-f", str(tmp_path / "conf")]

        assert asked_through(haproxy_on) == [b"55", b"56"]
        wire.wait_until("two lines in the log", lambda: open(log).read().count("/baseline11") == 2)


FILTERED = """
import json, os, sys
import seccomp
with open(sys.argv[1]) as f:
    profile = json.load(f)
actions = {"SCMP_ACT_ALLOW": lambda rule: seccomp.ALLOW, "SCMP_ACT_ERRNO": lambda rule: seccomp.ERRNO(rule.get("errnoRet", 1))}
f = seccomp.SyscallFilter(seccomp.ERRNO(profile["defaultErrnoRet"]))
for rule in profile["syscalls"]:
    args = [seccomp.Arg(a["index"], seccomp.MASKED_EQ, a["value"], a["valueTwo"]) for a in rule.get("args", [])]
    for name in rule["names"]:
        try:
            f.add_rule(actions[rule["action"]](rule), name, *args)
        except RuntimeError:
            pass      # a call that this architecture does not have, or this libseccomp does not know
f.load()
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_docker_profile(backend, tmp_path):
    """The server starts beneath the filter, on this backend, and answers; what the filter refuses is refused."""
    wire.need_filter()
    python = "/usr/bin/python3"
    if not os.path.exists(python) or subprocess.run([python, "-c", "import seccomp"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("there is no python3-seccomp")
    filtered = [python, "-c", FILTERED, os.path.join(CONTAINER, "seccomp.json")]
    refused = subprocess.run(filtered + ["/usr/bin/unshare", "--user", "true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert refused.returncode != 0 and b"Operation not permitted" in refused.stdout, refused.stdout
    script = tmp_path / "bivalve"
    script.write_text("#!/bin/sh\nexec %s '%s' \"$@\"\n" % (
        " ".join("'%s'" % word.replace("'", "'\\''") for word in filtered), wire.binary()))
    script.chmod(0o755)
    real, os.environ["BIVALVE"] = os.environ["BIVALVE"], str(script)
    try:
        static = tmp_path / "static"
        static.mkdir()
        (static / "file").write_text("x" * 100000)
        with wire.Server(backend, "--static", static, "--admin", "127.0.0.1:0", "--access-log", tmp_path / "log") as server:
            with server.connect() as c:
                assert c.get("/baseline11?a=13&b=42").body == b"55"
                assert len(c.get("/static/file").body) == 100000
                assert c.get("/json/50?m=1", "Accept-Encoding: gzip").status == 200
            before = admin.workers(server)
            server.signal(1)
            wire.wait_until("new workers", lambda: not set(before) & set(admin.workers(server)) and admin.workers(server))
            with server.connect() as c:
                assert c.get("/pipeline").body == b"ok"
    finally:
        os.environ["BIVALVE"] = real


def test_kubernetes(tmp_path):
    yaml = pytest.importorskip("yaml")
    with open(os.path.join(CONTAINER, "kubernetes.yaml"), encoding="utf-8") as f:
        parts = {part["kind"]: part for part in yaml.safe_load_all(f)}
    assert set(parts) == {"ConfigMap", "Deployment", "Service"}
    conf = parts["ConfigMap"]["data"]["bivalve.conf"]
    (tmp_path / "in").write_text(conf)
    check_config(str(tmp_path / "in"), str(tmp_path))
    pod = parts["Deployment"]["spec"]["template"]["spec"]
    container, = pod["containers"]
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert {"http": 8080, "admin": 9180} == ports and all(":%d" % port in conf for port in ports.values())
    seconds = {name: int(value) for name, value in re.findall(r"^(drain-\w+) (\d+)$", conf, re.M)}
    ready = container["readinessProbe"]
    assert seconds["drain-delay"] > ready["periodSeconds"] * ready["failureThreshold"]
    assert pod["terminationGracePeriodSeconds"] > seconds["drain-delay"] + seconds["drain-timeout"]
    assert parts["Service"]["spec"]["ports"][0]["targetPort"] == "http"
