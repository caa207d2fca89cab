# SPDX-License-Identifier: MIT
"""Completions of bivalve-bench and bivalve-load: every command and every option, from the tools
themselves, in bash, zsh and fish."""
import argparse
import os
import re
import shlex
import shutil
import subprocess

import pytest
from conftest import SCRIPTS, TOOL

from bench import options

FOLDER = os.path.join(SCRIPTS, "completions")
LOAD = os.path.join(os.path.dirname(os.environ["BIVALVE"]), "bivalve-load")
BASH = """
. "$1"
tool=$2
shift 2
COMP_WORDS=("$tool" "$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"_$(basename "$tool" | tr - _)" "$tool" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
# What the shell's own functions would offer is printed, if it begins as the word does.
ZSH = """
file=$1
shift
words=("$@")
CURRENT=$#words
offer() { local w; for w in "$@"; do [[ $w == ${words[CURRENT]}* ]] && print -r -- $w; done; return 0; }
compadd() {
    case $1 in
    -a) shift; [[ $1 == -- ]] && shift; offer ${(P)1} ;;
    *) offer "$@" ;;
    esac
}
_describe() { offer ${${(P)2}%%:*}; }
_files() { if [[ $1 == -/ ]]; then offer *(N/); else offer *(N); fi; }
complete() { . $file; }
complete
"""


def run(shell, argv, cwd):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not on the PATH (Debian: apt install {shell})")
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=cwd)
    assert not done.stderr
    return done.stdout


def in_bash(tool, words, cwd):
    name = os.path.join(FOLDER, os.path.basename(tool))
    words = [w for word in words for w in re.split("(=)", word)]
    return set(run("bash", ["bash", "-c", BASH, "bash", name, tool, *words], cwd).split())


def in_zsh(tool, words, cwd):
    name = os.path.join(FOLDER, "_" + os.path.basename(tool))
    return set(run("zsh", ["zsh", "-f", "-c", ZSH, "zsh", name, tool, *words], cwd).split())


def in_fish(tool, words, cwd):
    name = os.path.basename(tool)
    line = shlex.quote(" ".join([name, *words]))
    path = shlex.quote(os.path.dirname(tool))
    code = f"set PATH {path} $PATH; source {FOLDER}/{name}.fish; complete -C {line}"
    out = run("fish", ["fish", "--no-config", "-c", code], cwd)
    found = {o.split("\t")[0] for o in out.splitlines()}
    return {o.rpartition("=")[2].rstrip("/") for o in found}  # fish repeats --name=


@pytest.fixture(params=[in_bash, in_zsh, in_fish], ids=["bash", "zsh", "fish"])
def complete(request, tmp_path):
    def words(tool, *words):
        return request.param(tool, words, tmp_path)

    return words


def commands():
    parser = options.build_parser()
    return next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices


def test_commands(complete):
    assert complete(TOOL, "") == set(commands()) and complete(TOOL, "me") == {"merge"}


@pytest.mark.parametrize("command", ["compare", "diff"])
def test_options(complete, command):
    flags = {f for f in commands()[command]._option_string_actions if f.startswith("--")}
    assert flags <= complete(TOOL, command, "--")


def test_values_and_folders(complete, tmp_path):
    assert complete(TOOL, "compare", "--generator", "b") == {"bivalve-load"}
    assert complete(TOOL, "compare", "--backend", "io") == {"io_uring"}
    (tmp_path / "a-run").mkdir()
    (tmp_path / "a-file").touch()
    assert complete(TOOL, "diff", "a") == {"a-run"} == complete(TOOL, "merge", "a")
    assert complete(TOOL, "compare", "--dataset", "a-f") == {"a-file"}


def test_options_of_the_load(complete):
    said = subprocess.run([LOAD, "--help"], capture_output=True, text=True, check=True).stdout
    flags = set(re.findall("^.{6}(--[a-z0-9-]+)", said, re.M))
    assert "--connections" in flags and "--turns" in flags
    assert flags <= complete(LOAD, "--")


def test_values_of_the_load(complete, tmp_path):
    assert complete(LOAD, "--arrivals", "p") == {"poisson"}
    assert complete(LOAD, "--backend", "e") == {"epoll"}
    assert complete(LOAD, "--tls-version", "1.") == {"1.2", "1.3"}
    (tmp_path / "a-file").touch()
    assert complete(LOAD, "--raw", "a") == {"a-file"}


def test_the_equals_sign(tmp_path):
    """bash takes --name=value for three words."""
    assert in_bash(TOOL, ["compare", "--backend=io"], tmp_path) == {"io_uring"}
    assert in_bash(LOAD, ["--arrivals=u"], tmp_path) == {"uniform"}
