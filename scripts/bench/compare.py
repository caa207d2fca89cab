# SPDX-License-Identifier: MIT
"""compare: slices of load against servers side by side, in pairs.

The slices of a pair go on at the same time: turns of some milliseconds, in which one server is under load
and the others have nothing to do. What else the machine and its host are doing changes within
tenths of a second, and so falls on all sides alike; slices one after the other would each get
weather of their own. Where the load generator cannot take turns, or a profile's answers take longer than
a turn, the slices of a pair follow each other, in random order.

All servers are started afresh, and warmed up, for every pair: what a process happens to get at its
start (its memory layout, the pages it shares, its port) stays with it and would pass for a property
of the server. Pairs that shared a start would not be independent of each other, and an interval over
them would be too narrow.
"""
import random
import time

from . import idle, intervals, metrics, servers, slicerun, tables
from .errors import BenchError
from .load import Job

WARM_S = 0.3  # of uncounted load after a start, and for each connection:
WARM_CONN_S = 60e-6
START_S = 0.3  # what starting and checking a server takes, for the estimate
SLICE_MORE_S = 0.3  # what a slice takes beyond its seconds
REDO_MAX = 3  # a disturbed slice is redone so often at most,
BUSY_SLICES = (
    3  # and none any more when so many in a row stayed disturbed: the machine is simply busy
)
SPOILT_MAX = 2  # a slice with errors likewise, before the cell is given up
PAIRS_MAX = 400
TURN_S = 0.025  # at least, and so long that it has room for
TURN_ROUNDS = 5  # answers on every connection, of which each costs
REQUEST_S = 15e-6  # and for each byte
BYTE_S = 1e-9
UNTIL_MIN_PAIRS = 6
UNTIL_BUDGET_S = 600
SHORT_BUDGET_S = 300  # below it the idle connections are fewer and held in fewer rounds
DEFAULT_PAIRS = 10
HALF = "half"  # the rate of a cell: half of what the slower side has shown in the closed loop
ROOMY_PAIRS = (
    8  # with a budget and default --conns, fewer pairs than this drop the largest connection counts
)


class Plan:
    """What is to be done, from the options."""

    def __init__(self, contenders, profiles, conns, options):
        self.contenders, self.profiles, self.conns = contenders, profiles, conns
        self.names = [c.name for c in contenders]
        self.seconds = options.seconds
        self.turn = getattr(options, "turn", None)
        self.side_by_side = len(self.names) > 1 and self.turn != 0
        rates = options.rate or [None]
        self.rate = rates[0] if len(rates) == 1 else None  # that of all rows
        self.until = options.until
        self.until_metric = options.until_metric
        self.budget = options.time_budget or (UNTIL_BUDGET_S if options.until else None)
        # With a budget, pairs are run until it is spent; a number given as well is the most.
        self.pairs = options.pairs or (None if self.budget else DEFAULT_PAIRS)
        self.max_foreign = options.max_foreign
        self.seed = options.seed
        self.idle, self.idle_rounds = options.idle, idle.ROUNDS
        if self.budget and self.budget < SHORT_BUDGET_S:
            self.idle, self.idle_rounds = min(self.idle, idle.SHORT_CONNECTIONS), idle.SHORT_ROUNDS
        self.slice_s = self.seconds + SLICE_MORE_S + (1 if options.rate else 0)
        own_conns = not getattr(options, "conns", None)
        self.cells = [
            {"profile": p, "conns": n, "rate": rate}
            for p in profiles
            for n in ([p.conns] if own_conns and p.conns else conns)
            for rate in (rates if options.rate else [p.rate])
        ]
        rated = [c for c in self.cells if c["profile"].pipeline == 1 and not c["rate"]]
        if getattr(options, "half_rate", False) and rated:
            self.cells.append(dict(rated[0], rate=HALF))

    def pair_s(self):
        """What a pair takes, the start of its servers included."""
        warm = WARM_S + WARM_CONN_S * max(c["conns"] for c in self.cells)
        more = SLICE_MORE_S * (len(self.names) - 1) if self.side_by_side else 0
        return len(self.names) * (self.slice_s + START_S + warm) - more

    def turn_s(self, generator, profile, conns):
        """How long a server is under load before it is the next one's turn, where the slices of a pair
        go on side by side; None: they follow each other."""
        if not (self.side_by_side and generator.module.TURNS and profile.turns):
            return None
        round_s = conns * (REQUEST_S + profile.bytes() * BYTE_S)
        turn_s = self.turn / 1000 if self.turn else max(TURN_S, TURN_ROUNDS * round_s)
        return round(turn_s, 3) if turn_s <= self.seconds / 2 else None

    def estimate_s(self):
        """Seconds for everything, as far as it can be known."""
        return self.budget or len(self.cells) * self.pairs * self.pair_s() + idle.estimate_s(self)

    def fit_budget(self, conns_given):
        """Drop the largest connection counts while a budget leaves too few pairs for each cell;
        returns a note."""
        if not self.budget or conns_given:
            return ""
        dropped = []
        room = self.budget - idle.estimate_s(self)
        while len(self.conns) > 1 and self.pairs_for(room / len(self.cells)) < ROOMY_PAIRS:
            dropped.append(self.conns.pop())
            self.cells = [
                c for c in self.cells if c["conns"] in self.conns + [c["profile"].conns]
            ]
        if not dropped:
            return ""
        return (
            f"the time budget of {self.budget:.0f} s leaves no room for"
            f" {', '.join(map(str, reversed(dropped)))} connections; name them with --conns to have"
            " them measured in fewer pairs"
        )

    def pairs_for(self, seconds):
        return int(seconds / self.pair_s())


def closes(lab, profile):
    """After how many requests the server has to end a connection for this profile; 0: never."""
    return profile.per_connection if lab.generator.server_closes and profile.per_connection else 0


def preflight(lab, plan):
    """Every server answers every profile, before anything is measured."""
    for contender in plan.contenders:
        for limit, tls in sorted({(closes(lab, p), p.tls) for p in plan.profiles}):
            lab.progress.step(f"checking {contender.name}")
            alike = [p for p in plan.profiles if (closes(lab, p), p.tls) == (limit, tls)]
            server = servers.start(contender, lab, limit, profiles=alike)
            try:
                for profile in alike:
                    servers.check(server, profile, bool(limit))
            finally:
                servers.stop(server, lab)
    lab.progress.line(
        "checked: "
        + tables.enumerated(plan.names)
        + " answer "
        + ", ".join(p.name for p in plan.profiles)
        + " correctly"
    )


def measure(lab, plan, results):
    """Run the whole plan, filling in results["idle"] and results["cells"] as it goes."""
    begin = time.monotonic()
    deadline = begin + plan.budget if plan.budget else None
    lab.progress.expect(plan.estimate_s())
    if plan.idle:
        results["idle"] = idle.measure(lab, plan)
    for i, spec in enumerate(plan.cells):
        cell = {
            "profile": spec["profile"].name,
            "conns": spec["conns"],
            "rate": None,
            "derived": spec["rate"] == HALF,
            "turn_s": None,
            "slices": [],
            "failed": None,
            "stopped": None,
        }
        results["cells"].append(cell)
        share = (deadline - time.monotonic()) / (len(plan.cells) - i) if deadline else None
        try:
            cell["rate"] = rate_of(spec, results["cells"])
            run_cell(lab, plan, cell, spec["profile"], share, i)
        except BenchError as e:
            cell["failed"] = str(e)
        finally:
            metrics.sum_up(cell, plan.names, plan.seed)
            report_cell(lab, plan, cell)
        if not deadline:
            rest = len(plan.cells) - i - 1
            lab.progress.expect(rest * plan.pairs * plan.pair_s())
    lab.progress.forget()


def rate_of(spec, cells):
    """The rate of a cell that is next, when those before it are measured; None: closed loop."""
    if spec["rate"] != HALF:
        return spec["rate"]
    for cell in cells:
        if (cell["profile"], cell["conns"]) == (spec["profile"].name, spec["conns"]):
            shown = [m["rps"] for m in cell.get("medians", {}).values() if m.get("rps")]
            if shown:
                return float(f"{min(shown) / 2:.2g}")
    raise BenchError("the row whose half rate this would be at was not measured")


def report_cell(lab, plan, cell):
    """One line on a cell that is done."""
    head = f"{cell['profile']} {cell['conns']}:"
    if cell["failed"]:
        lab.progress.line(f"{head} FAILED: {cell['failed']}")
        return
    parts = []
    for other in plan.names[1:]:
        shown = [
            f"{row['label']} {tables.ratio_text(row)} {row['verdict']}"
            for row in cell["verdicts"].get(other, [])
            if row["metric"] in ("rps", "cpu_us") and row["ratio"]
        ]
        if shown:
            parts.append(f"{other}: " + ", ".join(shown))
    lab.progress.line(f"{head} {cell['pairs']} pairs; " + "; ".join(parts))


def run_cell(lab, plan, cell, profile, share_s, number):
    """Run pairs until there are enough or the cell's share of time is up."""
    rng = random.Random(f"{plan.seed}/{number}")
    end = time.monotonic() + share_s if share_s is not None else None
    head = f"{profile.name}, {cell['conns']} connections"
    lab.progress.stage(head)
    running, order, pair = {}, None, 0
    try:
        while not enough(plan, cell, pair, end):
            # Every second pair turns the order of the one before round: both sides come first
            # equally often.
            order = rng.sample(plan.names, len(plan.names)) if pair % 2 == 0 else order[::-1]
            lab.progress.step(f"{head}: starting the servers")
            stop_all(lab, running)
            start_all(lab, plan, profile, cell["conns"], running, cell["rate"], order)
            said = f"{head}: pair {pair + 1}" + (f" of {plan.pairs}" if plan.pairs else "")
            cell["turn_s"] = plan.turn_s(lab.generator, profile, cell["conns"])
            for names in [order] if cell["turn_s"] else [[name] for name in order]:
                lab.progress.step(f"{said}, {tables.enumerated(names)}")
                outs = counted_slices(lab, plan, cell, [side_of(running[n], profile) for n in names])
                for name, out in zip(names, outs):
                    cell["slices"].append(dict(out, server=name, pair=pair, order=order.index(name)))
            pair += 1
    except BaseException:
        for server, _ in running.values():
            lab.server_nursery.stop(server.child)
        raise
    stop_all(lab, running)


def start_all(lab, plan, profile, conns, running, rate=None, order=None):
    """Start, check, warm all contenders into running {name: (server, the check's prediction)}: in
    the order in which they will be measured, so that a side is nothing but its name. Always started
    first, it would have been idle for longer than the others, and so differ from itself."""
    for name in order or plan.names:
        which = plan.names.index(name)
        contender = plan.contenders[which]
        server = servers.start(contender, lab, closes(lab, profile), which, profiles=[profile])
        running[contender.name] = (server, None)
        predicted = servers.check(server, profile, bool(closes(lab, profile)))
        running[contender.name] = (server, predicted)
        warm(lab, server, profile, conns, rate)


def stop_all(lab, running):
    while running:
        _, (server, _) = running.popitem()
        servers.stop(server, lab)


def warm(lab, server, profile, conns, rate):
    """A moment of the load itself, cut short, its output thrown away."""
    asked = server.contender.asks(profile)
    job = Job(
        asked, server.port, conns, 1, len(lab.load_cpus), lab.load_dir, "warm", rate, lab.address
    )
    argv, env = lab.generator.module.command(lab.generator.path, job)
    load = lab.start_load(argv, env, job)
    time.sleep(WARM_S + WARM_CONN_S * conns)
    lab.load_nursery.stop(load, grace_s=0.2)
    server.check_alive()


def enough(plan, cell, pair, end):
    """Whether the cell has its pairs; notes in the cell why it stopped."""
    if plan.until is not None and pair >= UNTIL_MIN_PAIRS and narrow_enough(plan, cell):
        cell["stopped"] = "interval narrow enough"
    elif pair >= (plan.pairs or PAIRS_MAX):
        cell["stopped"] = "pairs"
    elif pair and end is not None and time.monotonic() + plan.pair_s() > end:
        cell["stopped"] = "time budget"
    else:
        return False
    return True


def narrow_enough(plan, cell):
    """Whether every other side's interval of the chosen metric is as narrow as asked."""
    metrics.sum_up(cell, plan.names, plan.seed)
    for other in plan.names[1:]:
        for row in cell["verdicts"][other]:
            if row["metric"] == plan.until_metric and intervals.relative_width(row) > plan.until:
                return False
    return True


def side_of(started, profile):
    """One of start_all()'s, for slicerun."""
    server, predicted = started
    return slicerun.Side(server, server.contender.asks(profile), predicted)


def counted_slice(lab, plan, server, profile, conns, predicted, rate=None, redo=True):
    """A slice of one server by itself."""
    cell = {"conns": conns, "rate": rate, "turn_s": None}
    return counted_slices(lab, plan, cell, [side_of((server, predicted), profile)], redo)[0]


def counted_slices(lab, plan, cell, sides, redo=True):
    """Slices that stand: disturbed and spoilt ones are redone, all of `sides`, then the cell is given
    up."""
    redone = spoilt = 0
    while True:
        try:
            outs = slicerun.run_slices(
                lab, sides, cell["conns"], plan.seconds, cell["rate"], cell["turn_s"]
            )
            for side, out in zip(sides, outs):
                if out["problems"]:
                    raise slicerun.Spoilt(f"{side.server.name}: " + "; ".join(out["problems"]))
        except slicerun.Spoilt:
            spoilt += 1
            if spoilt > SPOILT_MAX:
                raise
            continue
        for out in outs:
            out["disturbed"] = slicerun.disturbed(out, plan.max_foreign)
        disturbed = redo and any(out["disturbed"] for out in outs)
        limit = REDO_MAX if lab.busy_slices < BUSY_SLICES else 0
        if disturbed and redone < limit:
            redone += 1
            continue
        for out in outs:
            out["redone"], out["spoilt"] = redone, spoilt
        note_busy(lab, disturbed)
        return outs


def note_busy(lab, disturbed):
    """Count slices that stayed disturbed in a row; say once that the machine is busy."""
    lab.busy_slices = lab.busy_slices + 1 if disturbed else 0
    if lab.busy_slices == BUSY_SLICES and not lab.busy_said:
        lab.busy_said = True
        note = (
            "this machine is busy with other things: slices stayed disturbed however often they"
            " were redone, and were kept; intervals are wider for it"
        )
        lab.notes.append(note)
        lab.progress.line("note: " + note)
