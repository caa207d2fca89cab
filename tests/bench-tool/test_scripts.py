# SPDX-License-Identifier: MIT
"""scripts/bench-scale and bench-bare: what they plan and what they make of figures; bench-memory's row."""
import importlib.machinery
import importlib.util
import os

import pytest

SCRIPTS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "scripts")


def load(name):
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), os.path.join(SCRIPTS, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scale():
    return load("bench-scale")


def test_heads_are_as_long_as_asked_for(scale, tmp_path):
    from bench import profiles

    for size, _, text in scale.plan("head"):
        made = profiles.parse(text, "head", str(tmp_path / "head.ini"))
        assert abs(len(made.requests[0].raw()) - size) <= 8, size
        assert len(made.requests[0].headers) < 100


def test_every_point_is_a_profile(scale, tmp_path):
    from bench import profiles

    for series in scale.SERIES:
        xs = []
        for x, conns, text in scale.plan(series):
            made = profiles.parse(text, series, str(tmp_path / "point.ini"))
            xs.append(x)
            assert 1 <= conns + made.idle <= scale.CONNS_MAX
            if series == "idle":
                assert made.idle == x
            if series == "answer":
                assert made.requests[0].file_bytes == x
        assert xs == sorted(set(xs))


def test_points_end_where_they_are_to(scale):
    assert scale.points(1, 64, 4) == [1, 4, 16, 64]
    assert scale.points(1, 100, 4) == [1, 4, 16, 64, 100]


def test_a_plot_of_what_was_measured(scale, tmp_path):
    pytest.importorskip("matplotlib")
    rows = [
        dict(series=s, x=str(x), backend=b, cpu_us="5", lowest="4.5", highest="6", pairs="2")
        for s in ("busy", "idle")
        for x in (1 if s == "busy" else 0, 64)
        for b in ("epoll", "io_uring")
    ]
    scale.draw(rows, str(tmp_path / "scale.svg"))
    text = (tmp_path / "scale.svg").read_text()
    assert "io_uring" in text and scale.SERIES["idle"] in text


@pytest.mark.parametrize(
    "low, high, said",
    [(1.06, 1.08, "missed"), (1.01, 1.04, "held"), (1.01, 1.07, "open"), (None, None, "open")],
)
def test_a_bar_is_missed_only_if_that_was_shown(low, high, said):
    row = {"metric": "cpu_us", "a": 5.0, "b": 5.2, "ratio": 1.04, "low": low, "high": high}
    cell = {"profile": "bare-baseline", "conns": 64, "verdicts": {"epoll": [row]}}
    assert load("bench-bare").rows("epoll", [cell])[0][-1] == said


def test_memory_without_a_control_group():
    got = {"used": None, "anon": None, "sock": None, "kernel": None, "pss": 3 << 20, "worker": 1 << 19}
    assert load("bench-memory").row("epoll", 512, got) == [
        "epoll", 512, "-", "-", "-", "-", "3.0", "512",
    ]  # fmt: skip
