# SPDX-License-Identifier: MIT
"""Completions for bash: every command and every option of it, from the tool itself."""
import argparse
import os
import shutil
import subprocess

import pytest
from conftest import SCRIPTS, TOOL

from bench import options

FILE = os.path.join(SCRIPTS, "completions", "bivalve-bench")
DRIVER = """
. "$1"
tool=$2
shift 2
COMP_WORDS=("$tool" "$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_bivalve_bench "$tool" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(*words, cwd=None):
    if not shutil.which("bash"):
        pytest.skip("bash is not on the PATH")
    done = subprocess.run(
        ["bash", "-c", DRIVER, "bash", FILE, TOOL, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
    )
    assert not done.stderr
    return set(done.stdout.split())


def commands():
    parser = options.build_parser()
    return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices


def test_commands():
    assert complete("") == set(commands()) and complete("me") == {"merge"}


@pytest.mark.parametrize("command", ["compare", "diff"])
def test_options(command):
    flags = {f for f in commands()[command]._option_string_actions if f.startswith("--")}
    assert complete(command, "--") == flags


def test_values_and_folders(tmp_path):
    assert complete("compare", "--generator", "b") == {"bivalve-load"}
    assert complete("compare", "--backend", "=", "io") == {"io_uring"}
    (tmp_path / "a-run").mkdir()
    (tmp_path / "a-file").touch()
    assert complete("diff", "a", cwd=tmp_path) == {"a-run"} == complete("merge", "", cwd=tmp_path)
    assert complete("compare", "--dataset", "a-f", cwd=tmp_path) == {"a-file"}
