# SPDX-License-Identifier: MIT
"""The command line: compare, run, report."""
import os
import random
import signal
import sys
import time

from . import (
    agree,
    apart,
    compare,
    contenders,
    counters,
    counts,
    lab,
    machine,
    profiles,
    progress,
    report,
    results,
    saved_cli,
    single,
    tables,
    text,
)
from .errors import BenchError
from .options import DEFAULT_CONNS, build_parser

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def choose_profiles(options, the_lab, compared):
    """The profiles that can be run, with notes on those that cannot."""
    names = [n.strip() for word in options.profile or [] for n in word.split(",") if n.strip()]
    chosen = profiles.load(names, options.profiles_dir)
    if not names and any(c.url for c in compared):
        # Those that are a shape of load; the others are about their requests.
        chosen = [p for p in chosen if p.name in profiles.SHAPES]
    out = []
    for p in chosen:
        why = ""
        if p.idle and getattr(options, "crowd", None) is not None:
            p.idle = options.crowd
        if (p.tls or p.idle) and not the_lab.generator.module.EXTRAS:
            why = f"{p.name}: only bivalve-load can: --generator bivalve-load"
        if the_lab.apart and (p.tls or p.idle or p.files()):
            why = f"{p.name}: not with --server-prefix or --load-prefix"
        if not why and (options.rate or p.rate):
            if not the_lab.generator.module.RATED:
                raise BenchError(f"{p.name}: {the_lab.generator.name} keeps no fixed rate")
            rated, why = p.for_rate(the_lab.generator.module)
            if rated and why:
                the_lab.notes.append(f"fixed rate: {why}")
            p, why = (rated, "") if rated else (p, why)
        if not why and compare.closes(the_lab, p):
            unable = [c.name for c in compared if not c.limits_itself()]
            if unable:
                why = (
                    f"{p.name}: {', '.join(unable)} cannot be told to end connections: put"
                    " {max_requests} into the command, or use --generator bivalve-load"
                )
        if why and names:
            raise BenchError(why)
        if why:
            the_lab.notes.append("left out: " + why)
        else:
            out.append(p)
    if not out:
        raise BenchError("no profile is left to measure: " + "; ".join(the_lab.notes))
    return out


def choose_conns(options):
    """Ascending connection counts."""
    given = sorted({n for part in options.conns or [] for n in part})
    return given or list(DEFAULT_CONNS)


def default_out(options):
    if options.out:
        return options.out
    base = time.strftime("bivalve-bench-%Y%m%d-%H%M%S")
    return base


class Interrupted(KeyboardInterrupt):
    """SIGTERM and SIGHUP end the tool as Ctrl-C does."""


def on_signal(_number, _frame):
    raise Interrupted


# What compare has options for and the others have not.
FIXED = {
    "rate": None,
    "until": None,
    "until_metric": None,
    "time_budget": None,
    "idle": 0,
    "max_foreign": 1000.0,
    "counts": False,
    "counters": False,
    "half_rate": False,
}


def check_generators(options):
    """check-generators."""
    rate = options.rate
    for key, value in dict(FIXED, rate=[rate] if rate else None).items():
        setattr(options, key, value)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 10**6)
    who = agree.found(options)
    compared, notes = contenders.chosen(options)
    chosen = profiles.load([(options.profile or ["baseline"])[0]], options.profiles_dir)
    chosen[0] = agree.same_for_all(chosen[0], who, rate)
    conns = choose_conns(options)[:1]
    machine.need_fds(conns[0])
    out_dir = default_out(options)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    options.generator = who[0].name
    the_lab = lab.Lab(options, out_dir, progress.Progress(quiet=options.quiet))
    the_lab.notes += notes
    try:
        plan = compare.Plan(compared, chosen, conns, options)
        the_lab.ports.reserve(1)
        compare.preflight(the_lab, plan)
        rows = agree.sum_up(agree.measure(the_lab, plan, who), options.seed)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        the_lab.close()
        the_lab.progress.clear()
    print(agree.text(rows, chosen[0].name, conns[0], plan.names[0], rate))
    if agree.left_out(options):
        print(agree.left_out(options))
    print(f"figures: {agree.write(rows, out_dir)}")
    return 0


def measure(options, argv):
    """compare and run."""
    if options.command == "run":
        for key, value in dict(FIXED, pairs=single.BEST_OF, seed=1).items():
            setattr(options, key, value)
        saved = [single.load(f) for f in options.against]
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 10**6)
    if options.server_prefix or options.load_prefix:
        apart.check_options(options)
    compared, notes = contenders.chosen(options)
    conns = choose_conns(options)
    machine.need_fds(max(conns + [options.idle]))  # those of a profile are seen to when known
    out_dir = default_out(options)
    say = progress.Progress(quiet=options.quiet)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    the_lab = lab.Lab(options, out_dir, say)
    the_lab.notes += notes
    done = None
    status = 0
    try:
        options.half_rate = options.half_rate and the_lab.generator.module.RATED
        plan = compare.Plan(compared, choose_profiles(options, the_lab, compared), conns, options)
        machine.need_fds(max(c["conns"] + c["profile"].idle for c in plan.cells))
        note = plan.fit_budget(bool(options.conns))
        if note:
            the_lab.notes.append(note)
        the_lab.ports.reserve(len(compared))
        for note in the_lab.notes:
            say.line("note: " + note)
        compare.preflight(the_lab, plan)
        done = results.begin(options.command, the_lab, plan, argv)
        say.line(
            f"{the_lab.generator.describe().strip()} loads {tables.enumerated(plan.names)}; about "
            f"{progress.time_text(plan.estimate_s())} minutes; results in {out_dir}"
        )
        if options.command == "run":
            single.measure(the_lab, plan, done)
        else:
            compare.measure(the_lab, plan, done)
            if options.counts:
                done["counts"] = counts.measure(the_lab, plan)
            if options.counts or options.counters:
                done["counters"] = counters.measure(the_lab, plan)
    except KeyboardInterrupt:
        say.line("interrupted: ending every server, reporting what was measured")
        status = EXIT_INTERRUPTED
    finally:
        # A second Ctrl-C must not keep the children alive.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say.step("ending the servers")
        the_lab.close()
        say.clear()
    if done is None:
        return status or EXIT_FAILED
    done["interrupted"] = status == EXIT_INTERRUPTED
    results.finish(done, the_lab, plan)
    if options.command == "run":
        finish_run(options, done, saved, plan)
    failed = [c for c in done["cells"] if c["failed"]] or (done["idle"] or {}).get("failed")
    wrote = write_all(done, out_dir)
    return status or wrote or (EXIT_FAILED if failed else 0)


def finish_run(options, done, saved, plan):
    """Changes against saved results, the score among them, and --save."""
    name = plan.names[0]
    base = saved[0][1] if saved else None
    if base is None and options.save and os.path.exists(options.save):
        base = single.load(options.save)[1]
    rows = done["rows"]
    if options.save and rows:
        single.save(
            options.save,
            name,
            rows,
            {
                "begun": done["begun"],
                "generator": done["generator"]["name"],
                "kernel": done["machine"]["kernel"],
                "cpu": done["machine"]["cpu"],
            },
        )
    if base is not None:
        done["rows"] = single.against(rows, base)
    done["scores"] = single.scores(name, rows, saved) if rows else None
    done["score_field"] = sorted({name} | {n for n, _ in saved})


def write_all(done, out_dir):
    """results.json, table.md, report.html, and the text on stdout."""
    results.write(done, out_dir)
    print(text.run_text(done) if done["command"] == "run" else text.compare_text(done))
    print(f"report: {report.write(done, out_dir)}")
    return 0 if any(c["slices"] for c in done["cells"]) else EXIT_FAILED


def main(argv):
    options = build_parser().parse_args(argv[1:])
    try:
        if options.command == "report":
            folder = (
                options.dir if os.path.isdir(options.dir) else os.path.dirname(options.dir) or "."
            )
            done = results.read(options.dir)
            print(f"report: {report.write(done, folder)}")
            return 0
        if options.command in saved_cli.COMMANDS:
            return saved_cli.run(options)
        if options.command == "check-generators":
            return check_generators(options)
        return measure(options, ["bivalve-bench"] + argv[1:])
    except BenchError as e:
        print(f"bivalve-bench: {e}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_FAILED
