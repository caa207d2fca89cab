# SPDX-License-Identifier: MIT
"""results.json: written after every measurement, read by report. Its form is in
doc/bench-results.md."""
import json
import os
import time

from . import RESULTS_SCHEMA
from .errors import BenchError

NAME = "results.json"


def begin(command, lab, plan, argv):
    """The results dict before anything is measured."""
    return {
        "schema": RESULTS_SCHEMA,
        "command": command,
        "argv": argv,
        "begun": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "ended": None,
        "interrupted": False,
        "machine": lab.machine,
        "apart": lab.apart.describe() if lab.apart else None,
        "generator": {
            "name": lab.generator.name,
            "version": lab.generator.version,
            "notes": lab.generator.notes,
            "server_closes": lab.generator.server_closes,
        },
        "server_cpus": sorted(lab.server_cpus),
        "load_cpus": sorted(lab.load_cpus),
        "workers": lab.workers,
        "cgroup_version": lab.groups.version if lab.groups.parent else None,
        "seconds": plan.seconds,
        "pairs_wanted": plan.pairs,
        "until": plan.until,
        "until_metric": plan.until_metric,
        "time_budget": plan.budget,
        "rate": plan.rate,
        "seed": plan.seed,
        "max_foreign": plan.max_foreign,
        "profiles": [
            {
                "name": p.name,
                "title": p.title,
                "pipeline": p.pipeline,
                "per_connection": p.per_connection,
                "requests": [r.name for r in p.requests],
            }
            for p in plan.profiles
        ],
        "servers": [
            {
                "name": c.name,
                "command": c.words,
                "backend": c.backend,
                "url": c.url.target if c.url else None,
                "about": {},
            }
            for c in plan.contenders
        ],
        "notes": list(lab.notes),
        "idle": None,
        "cells": [],
        "counts": None,
        "counters": None,
        "rows": [],
        "scores": None,
    }


def finish(results, lab, plan):
    """What is only known at the end."""
    results["ended"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    results["generator"]["version"] = lab.generator.version
    results["notes"] = list(lab.notes)
    for entry, contender in zip(results["servers"], plan.contenders):
        entry["about"] = contender.about
    for cell in results["cells"]:
        cell.pop("last_order", None)


def write(results, folder):
    path = os.path.join(folder, NAME)
    try:
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1, allow_nan=False)
            f.write("\n")
        os.replace(path + ".new", path)
    except OSError as e:
        raise BenchError(f"cannot write {path}: {e.strerror}") from None
    return path


def read(folder):
    path = os.path.join(folder, NAME) if os.path.isdir(folder) else folder
    try:
        with open(path, encoding="utf-8") as f:
            results = json.load(f)
        schema = results["schema"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise BenchError(f"{path} is not a results.json of bivalve-bench: {e}") from None
    if schema != RESULTS_SCHEMA:
        raise BenchError(f"{path} has schema {schema}, this bivalve-bench reads {RESULTS_SCHEMA}")
    return results
