# SPDX-License-Identifier: MIT
"""doc/grafana-dashboard.json asks for metrics that there are, in queries that Prometheus takes. With PROMETHEUS=1 in the
environment a real one scrapes a server under load, and every query has to bring data."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import admin
import documents
import pytest
import wire

# Queries that bring nothing as long as all is well, or without the feature: only their syntax is tried.
QUIET = re.compile(r"_failures_total|limits_hit|timeouts_total")


def dashboard():
    with open(os.path.join(documents.TOP, "doc", "grafana-dashboard.json"), encoding="utf-8") as f:
        return json.load(f)


def queries():
    """(title of the panel, query) of the dashboard; Grafana's variables have a value."""
    out = []
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "15s")
            out.append((panel["title"], query.replace("$job", ".*").replace("$instance", ".*")))
    return out


def test_panels_are_told_apart():
    panels = dashboard()["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    places = set()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & places and grid["x"] + grid["w"] <= 24, panel["title"]
        places |= cells
    assert all("$" not in query for _, query in queries())


def test_metrics_exist():
    with wire.Server(wire.backends()[0][0], "--admin", "127.0.0.1:0") as server:
        names = {name for name, _ in admin.metrics(server)}
        labels = {label for _, labels in admin.metrics(server) for label in re.findall(r'([a-z_]+)="', labels or "")}
    for title, query in queries():
        asked = re.findall(r"bivalve_[a-z_0-9]+", query)
        assert asked and set(asked) <= names, "%s: there is no %s" % (title, sorted(set(asked) - names))
        for by in re.findall(r"by \((.*?)\)", query):
            assert set(by.split(", ")) <= labels | {"instance"}, title


def test_prometheus_takes_the_queries(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("there is no promtool")
    rules = [{"record": "panel:query%d:value" % n, "expr": query} for n, (_, query) in enumerate(queries())]
    # JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(tmp_path / "rules.yml")], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0 and "%d rules found" % len(rules) in done.stdout, done.stdout


class Prometheus:
    """A real one, that scrapes a server each second."""

    def __init__(self, directory, target):
        with wire.socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        config = {"global": {"scrape_interval": "1s"},
                  "scrape_configs": [{"job_name": "bivalve", "static_configs": [{"targets": [target]}]}]}
        (directory / "prometheus.yml").write_text(json.dumps(config))
        self.log = open(directory / "log", "w")
        self.process = subprocess.Popen(
            ["prometheus", "--config.file=%s" % (directory / "prometheus.yml"), "--storage.tsdb.path=%s" % (directory / "data"),
             "--web.listen-address=127.0.0.1:%d" % self.port], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def query(self, query):
        """The samples, or None while it does not answer."""
        url = "http://127.0.0.1:%d/api/v1/query?%s" % (self.port, urllib.parse.urlencode({"query": query}))
        try:
            with urllib.request.urlopen(url, timeout=wire.HANG_S) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError("%s: %s" % (query, error.read())) from error
        except OSError:
            return None
        assert said["status"] == "success", said
        return said["data"]["result"]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def test_a_real_prometheus_has_data_for_every_panel(tmp_path):
    if not os.environ.get("PROMETHEUS"):
        pytest.skip("on demand: set PROMETHEUS=1")
    if not shutil.which("prometheus"):
        pytest.skip("there is no prometheus")
    with wire.Server(None, "--admin", "127.0.0.1:0") as server:
        done = threading.Event()

        def clients():
            while not done.is_set():
                with server.connect() as c:
                    for _ in range(20):
                        c.get("/json/5?m=1")
                time.sleep(0.05)
        load = threading.Thread(target=clients)
        load.start()
        prometheus = Prometheus(tmp_path, "%s:%d" % admin.address(server)[1])
        try:
            wire.wait_until("data of some seconds", lambda: prometheus.query("rate(bivalve_requests_total[15s]) > 0"),
                            timeout=120, step=0.5)
            missing = []
            for title, query in queries():
                if not prometheus.query(query) and not QUIET.search(query):
                    missing.append("%s: %s" % (title, query))
            assert not missing, "\n".join(missing)
            assert prometheus.query("bivalve_healthy")[0]["value"][1] == "1"
        finally:
            done.set()
            load.join()
            prometheus.stop()
