# SPDX-License-Identifier: MIT
"""What a load generator is asked to do, and what it says it saw."""
import os
import subprocess


class Unreadable(Exception):
    """The generator's output is not what was expected of it."""


class Job:
    """One run of a load generator. `folder` is for scripts and templates, `tag` names this run's
    files."""

    def __init__(
        self,
        profile,
        port,
        conns,
        seconds,
        threads,
        folder,
        tag="load",
        rate=None,
        address="127.0.0.1",
        turns=None,
    ):
        self.profile, self.port, self.conns, self.seconds = profile, port, conns, seconds
        self.threads = max(1, min(threads, conns))
        self.folder, self.tag, self.rate = folder, tag, rate
        self.address = address
        self.turns = turns  # (seconds of a turn, which, of how many), or None: all the time

    def base(self):
        """The URL of the server, without a path."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.profile.tls else 'http'}://{host}:{self.port}"


class Seen:
    """What the tool saw of the run: CLOCK_MONOTONIC seconds, and the clock's distance from the time
    of day."""

    def __init__(self, started, connected, threads_up, ended, epoch_offset):
        self.started, self.connected, self.threads_up = started, connected, threads_up
        self.ended, self.epoch_offset = ended, epoch_offset


class Load:
    """One run in the generator's words.

    window: (begin, end) in CLOCK_MONOTONIC seconds, over which `requests` were counted; the
    latencies are the generator's and cover its own window. bytes and responses belong together
    (whole run), for bytes per response. own_s: the time in which there was load; None: the whole
    window.
    """

    def __init__(
        self,
        window,
        requests,
        responses,
        size,
        latency_us,
        errors,
        not_2xx,
        reconnects=None,
        by_request=None,
        own_rps=None,
        rotations=0,
        own_s=None,
    ):
        self.window, self.requests = window, requests
        self.responses, self.bytes = responses, size
        self.latency_us = latency_us  # {percent as text: microseconds}
        self.errors = errors  # {kind: count}
        self.not_2xx = not_2xx  # answers seen with another status, None where not told
        self.reconnects = reconnects  # None where not told
        self.by_request = by_request  # {request name: responses}, None where the mix is even
        self.own_rps = own_rps  # requests/s as printed by the generator
        # How many rotations through the mix went on at once, each broken off at the end.
        self.rotations = rotations
        self.own_s = window[1] - window[0] if own_s is None else own_s


def run_for_text(argv):
    """Output of a short command, "" when it cannot be run."""
    try:
        p = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=10,
            check=False,
            env=dict(os.environ, LC_ALL="C"),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return p.stdout.decode("utf-8", "replace")
