# SPDX-License-Identifier: MIT
"""The options of every command. What they mean is in bivalve-bench(1)."""
import argparse
import re

from . import agree, compare, generators, idle, metrics, profiles, saved_cli

DEFAULT_CONNS = (64, 512, 4096)
ONE_SERVER = ("run", "check-generators")


def positive(kind=int, low=1, high=10**9):
    def parse(value):
        try:
            n = kind(value)
        except ValueError:
            n = None
        if n is None or not low <= n <= high:
            raise argparse.ArgumentTypeError(f"{value!r}: a number from {low} to {high} is needed")
        return n

    return parse


def percent(value):
    m = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", value)
    if not m or not 0 < float(m.group(1)) < 100:
        raise argparse.ArgumentTypeError(f"{value!r}: a width such as 2% is needed")
    return float(m.group(1)) / 100


class Side(argparse.Action):
    """--backend and --server: kept in the order in which they were given, the first is the
    baseline."""

    def __call__(self, _parser, namespace, value, option=None):
        given = getattr(namespace, "sides", [])
        namespace.sides = given + [(self.dest, value)]


def number_list(value):
    out = []
    for word in value.split(","):
        out.append(positive(high=1000000)(word.strip()))
    return out


def rate_list(value):
    return sorted({positive(float, low=1)(word.strip()) for word in value.split(",")})


def add_common(p):
    p.add_argument(
        "--profile",
        action="append",
        metavar="NAME[,NAME]",
        help="default: " + ", ".join(profiles.DEFAULT),
    )
    p.add_argument(
        "--profiles-dir", metavar="DIR", help="a folder with more profiles, NAME.ini each"
    )
    p.add_argument(
        "--conns",
        action="append",
        type=number_list,
        metavar="N[,N]",
        help="connections; default: " + ", ".join(map(str, DEFAULT_CONNS)),
    )
    p.add_argument(
        "--cpus",
        metavar="SERVER:LOAD",
        help="CPUs of the servers and of the load, such as 0:1 or 0-3:4-11",
    )
    p.add_argument(
        "--workers",
        type=positive(high=4096),
        metavar="N",
        help="bivalve's workers; default: one a server CPU",
    )
    p.add_argument(
        "--generator",
        choices=generators.NAMES,
        help="the load generator; default: bivalve-load, else the first that is on the PATH",
    )
    p.add_argument(
        "--bivalve",
        metavar="PATH",
        help="the bivalve to start; default: built here, installed, or on the PATH",
    )
    p.add_argument("--dataset", metavar="FILE", help="dataset for bivalve; default: its own")
    p.add_argument("--bivalve-args", default="", metavar="ARGS", help="more arguments for bivalve")
    p.add_argument(
        "--port",
        type=positive(low=1, high=65000),
        metavar="N",
        help="listen on N and N+1 instead of free ports",
    )
    p.add_argument(
        "--out", metavar="DIR", help="folder for the results; default: bivalve-bench-DATE"
    )
    p.add_argument("--quiet", action="store_true", help="no progress")


def add_apart(p):
    p.add_argument(
        "--server-prefix",
        metavar="COMMAND",
        help="run the servers over there: such as 'ssh host'; python3 is needed there",
    )
    p.add_argument("--load-prefix", metavar="COMMAND", help="the same for the load generator")
    p.add_argument(
        "--address",
        metavar="ADDRESS",
        help="at which address of the servers' machine the load reaches it; default: as ssh says",
    )


def add_url(p):
    p.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="NAME=URL",
        help=(
            "ask the server NAME for this, by GET, in place of the profile's requests:"
            " http://127.0.0.1:{port}/PATH"
        ),
    )


def add_slices(p):
    """What is measured for how long, and under which load."""
    p.add_argument(
        "--pairs",
        type=positive(high=compare.PAIRS_MAX),
        metavar="N",
        help=f"pairs of slices for each cell; default {compare.DEFAULT_PAIRS}",
    )
    p.add_argument(
        "--seconds",
        type=positive(high=3600),
        default=1,
        metavar="S",
        help="seconds of a slice; default 1",
    )
    p.add_argument(
        "--turn",
        type=positive(float, low=0, high=1000),
        metavar="MS",
        help=(
            "servers are measured side by side, each under load for so many milliseconds in its turn"
            " (bivalve-load alone can do that); 0: one slice after the other; default: 25, and more"
            " with many connections or long answers"
        ),
    )
    p.add_argument(
        "--crowd",
        type=positive(int, low=0),
        metavar="N",
        help="so many idle connections in place of what a profile with idle ones has",
    )
    p.add_argument(
        "--rate",
        type=rate_list,
        metavar="R[,R]",
        help="fixed rates, requests/s: a row for each; several give a curve",
    )
    p.add_argument(
        "--no-half-rate",
        dest="half_rate",
        action="store_false",
        help=(
            "leave out the row at a fixed rate: the first profile at half of what the slowest server"
            " did in the closed loop"
        ),
    )
    p.add_argument(
        "--until", type=percent, metavar="W%%", help="add pairs until the interval is that narrow"
    )
    p.add_argument(
        "--until-metric",
        choices=[m.key for m in metrics.METRICS],
        default="cpu_us",
        metavar="METRIC",
        help="whose interval --until watches; default cpu_us: CPU time per request",
    )
    p.add_argument(
        "--time-budget",
        type=positive(low=5, high=10**6),
        metavar="SECONDS",
        help=f"all in all; pairs are run until it is spent (--until: {compare.UNTIL_BUDGET_S})",
    )


def add_counts(p):
    """What else is counted, and what is thought of the machine."""
    p.add_argument(
        "--counts",
        action="store_true",
        help=(
            "also count system calls, backend enters and SQEs, and user instructions per request;"
            " with --counters"
        ),
    )
    p.add_argument(
        "--counters",
        action="store_true",
        help=(
            "also read the CPU's and the kernel's counters per request: instructions, cycles, cache"
            " and branch misses, page faults, context switches"
        ),
    )
    p.add_argument(
        "--idle",
        type=positive(low=0, high=1000000),
        metavar="N",
        default=idle.CONNECTIONS,
        help=(
            f"idle connections held for memory per connection; default {idle.CONNECTIONS}, 0: none"
        ),
    )
    p.add_argument(
        "--max-foreign",
        type=positive(float, low=0.0, high=1000.0),
        default=0.1,
        metavar="CPUS",
        help="CPUs that others may use during a slice before it is redone; default 0.1",
    )
    p.add_argument(
        "--seed", type=positive(low=0), metavar="N", help="of the random order and the bootstrap"
    )


def add_compare(commands):
    p = commands.add_parser(
        "compare",
        help="two servers or backends against each other",
        description="Measure servers in interleaved pairs and say what the difference is.",
    )
    p.add_argument(
        "--backend",
        action=Side,
        metavar="NAME",
        help=(
            "a backend of bivalve (libev, epoll, io_uring, libev:poll); given twice or more."
            " Default: those of libev, epoll and io_uring that run here"
        ),
    )
    p.add_argument(
        "--server",
        action=Side,
        metavar="NAME=COMMAND",
        help=(
            "any server: its command line with {port}, and {max_requests} if it can end connections;"
            " {config:FILE} is a copy of FILE with the same filled in, {dir} a folder of its own"
        ),
    )
    add_url(p)
    add_common(p)
    add_apart(p)
    add_slices(p)
    add_counts(p)


def add_run(commands):
    p = commands.add_parser(
        "run",
        help="one server, best of three, in HttpArena's table",
        description="Measure one server and show the change against saved results.",
    )
    p.add_argument(
        "--backend",
        action=Side,
        metavar="NAME",
        help="the backend of bivalve; default: auto",
    )
    p.add_argument(
        "--server",
        action=Side,
        metavar="NAME=COMMAND",
        help="any server with {port}",
    )
    add_url(p)
    add_common(p)
    add_apart(p)
    p.add_argument(
        "--seconds",
        type=positive(high=3600),
        default=5,
        metavar="S",
        help="seconds of a run; default 5",
    )
    p.add_argument(
        "--save",
        metavar="FILE",
        help="save the results; if FILE exists, show the change against it first",
    )
    p.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="FILE",
        help="saved results: show the change against the first, and score among all of them",
    )


def add_check_generators(commands):
    p = commands.add_parser(
        "check-generators",
        help="one server under every load generator that is found",
        description="Say whether the load generators agree on what a request costs the server.",
    )
    p.add_argument("--backend", action=Side, metavar="NAME", help="default: auto")
    p.add_argument(
        "--server", action=Side, metavar="NAME=COMMAND", help="any server"
    )
    add_url(p)
    add_common(p)
    p.add_argument(
        "--pairs",
        type=positive(high=compare.PAIRS_MAX),
        default=agree.DEFAULT_ROUNDS,
        metavar="N",
        help=f"rounds; default {agree.DEFAULT_ROUNDS}",
    )
    p.add_argument(
        "--seconds", type=positive(high=3600), default=1, metavar="S", help="of a slice; default 1"
    )
    p.add_argument(
        "--rate",
        type=positive(float, low=1),
        metavar="R",
        help="a fixed rate, requests/s, under those that keep one",
    )
    p.add_argument("--seed", type=positive(low=0), metavar="N", help="of order and bootstrap")


def add_report(commands):
    p = commands.add_parser(
        "report",
        help="the HTML page, the Markdown table and the text of a folder",
        description="Write report.html and table.md from DIR/results.json.",
    )
    p.add_argument("dir", metavar="DIR")


def build_parser():
    p = argparse.ArgumentParser(
        prog="bivalve-bench",
        description=(
            "Compare HTTP servers, or bivalve's backends, on one "
            "machine, with intervals. See bivalve-bench(1)."
        ),
    )
    p.set_defaults(sides=[])
    commands = p.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_compare(commands)
    add_run(commands)
    add_check_generators(commands)
    add_report(commands)
    saved_cli.add_parsers(commands)
    return p
