# SPDX-License-Identifier: MIT
"""Who is compared: servers from the options, and from what runs here."""
import os
import re
import shlex
import shutil
import sys

from . import load, servers
from .errors import BenchError
from .options import ONE_SERVER

BACKENDS = ("libev", "epoll", "io_uring")  # compared without options, the first is the baseline


def find_bivalve(given):
    """The server to start."""
    if given:
        if not (os.path.isfile(given) and os.access(given, os.X_OK)):
            raise BenchError(f"--bivalve {given}: not an executable file")
        return os.path.abspath(given)
    here = os.path.dirname(os.path.realpath(sys.argv[0]))
    for path in (
        os.environ.get("BIVALVE"),
        "bivalve",
        os.path.join(here, "..", "bivalve"),
        os.path.join(here, "..", "sbin", "bivalve"),
        shutil.which("bivalve"),
        "/usr/local/sbin/bivalve",
        "/usr/sbin/bivalve",
    ):
        if path and os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise BenchError(
        "no bivalve found here, beside this tool, or on the PATH: build it (make), install it "
        "(make install), or name it with --bivalve PATH"
    )


def find_dataset(given):
    """Dataset to name on bivalve's command line: the source tree's where this tool runs from one,
    else bivalve's own."""
    if given:
        if not os.path.isfile(given):
            raise BenchError(f"--dataset {given}: no such file")
        return os.path.abspath(given)
    here = os.path.dirname(os.path.realpath(sys.argv[0]))
    tree = os.path.join(here, "..", "data", "dataset.json")
    return os.path.abspath(tree) if os.path.isfile(tree) else None


def works_here(bivalve):
    """(the backends to compare without options, a note on each that does not run here)."""
    probe = load.run_for_text([bivalve, "--probe"])
    told = dict(re.findall(r"^(\w+): (.*)$", probe, re.M))
    if not any(b in told for b in BACKENDS):
        raise BenchError(f"{bivalve} --probe names no backend: choose with --backend")
    able = [b for b in BACKENDS if told.get(b, "").startswith("runs here")]
    unable = [b for b in BACKENDS if b not in able]
    return able, [f"{b} is not compared: {told.get(b, 'not compiled in')}" for b in unable]


def give_urls(found, urls):
    """--url NAME=URL to the server of that name."""
    for given in urls:
        name, eq, url = given.partition("=")
        chosen = [c for c in found if c.name == name]
        if not eq or not chosen:
            names = ", ".join(c.name for c in found)
            raise BenchError(
                f"--url {given}: NAME=URL is needed, NAME one of those compared: {names}"
            )
        chosen[0].ask_url(url)


def chosen(options):
    """(the servers that the options name, in order; notes)."""
    one = options.command in ONE_SERVER
    given, notes, bivalve = list(options.sides), [], None
    far = getattr(options, "server_prefix", None)
    if not given or any(kind == "backend" for kind, _ in given):
        # What is over there is found over there.
        path = (options.bivalve or "bivalve") if far else find_bivalve(options.bivalve)
        bivalve = servers.Bivalve(
            path,
            options.dataset if far else find_dataset(options.dataset),
            shlex.split(options.bivalve_args),
            pin=True,
            as_root=True if far else None,
        )
        if not given and far and not one:
            raise BenchError("--server-prefix: name the --backend or --server to compare over there")
        if not given:
            names, notes = (["auto"], []) if one else works_here(path)
            given = [("backend", n) for n in names]
    out = [
        bivalve.contender(what, what) if kind == "backend" else servers.from_command(what)
        for kind, what in given
    ]
    if one and len(out) != 1:
        raise BenchError(
            f"{options.command} measures one server: one --backend or one --server"
        )
    if not one and len(out) < 2:
        raise BenchError(
            "compare needs two sides: --backend and --server may each be given several times; the"
            " same one twice compares it with itself" + "".join(f"; {n}" for n in notes)
        )
    if far and any(c.has_files() for c in out):
        raise BenchError("{dir} and {config:FILE} are not for --server-prefix: name files over there")
    out = servers.distinct_names(out)
    give_urls(out, options.url)
    notes += [
        f"{c.name} is asked for GET {c.url.target} where a profile has other requests"
        for c in out
        if c.url
    ]
    return out, notes
