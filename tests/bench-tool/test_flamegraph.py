# SPDX-License-Identifier: MIT
"""scripts/flamegraph: what it reads, and how wide it draws."""
import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree
from importlib.machinery import SourceFileLoader

SCRIPT = os.path.join(os.path.dirname(__file__), "..", "..", "scripts", "flamegraph")
loader = SourceFileLoader("flamegraph", SCRIPT)
flamegraph = importlib.util.module_from_spec(importlib.util.spec_from_loader("flamegraph", loader))
sys.dont_write_bytecode = True
loader.exec_module(flamegraph)

# Three samples: two in send, of which one in the kernel, and one in a<b> that has no caller.
PERF = """\
bivalve 7 1.000:     250000 cpu-clock:ppp:
\t           13a80 send+0x11 (/usr/lib/libc.so.6)
\t           20000 serve+0x1f0 (/usr/sbin/bivalve)

bivalve 7 1.001:     250000 cpu-clock:ppp:
\tffffffff81000000 tcp_sendmsg+0x1 ([kernel.kallsyms])
\t           13a80 send+0x12 (/usr/lib/libc.so.6)
\t           20000 serve+0x1f0 (/usr/sbin/bivalve)

bivalve 7 1.002:     250000 cpu-clock:ppp:
\t           30000 a<b>+0x5 (/usr/sbin/bivalve)
"""


def test_stacks_begin_outside():
    assert list(flamegraph.read_stacks(PERF.splitlines())) == [
        ["serve", "send"],
        ["serve", "send", "tcp_sendmsg (kernel)"],
        ["a<b>"],
    ]


def test_a_box_is_as_wide_as_its_samples():
    run = subprocess.run(
        [sys.executable, "-B", SCRIPT], input=PERF, capture_output=True, text=True, check=True
    )
    space = "{http://www.w3.org/2000/svg}"
    width = {}
    for g in xml.etree.ElementTree.fromstring(run.stdout).iter(space + "g"):
        name = g.find(space + "title").text.partition(":")[0]
        width[name] = float(g.find(space + "rect").get("width"))
    assert width == {"all": 1200, "serve": 800, "send": 800, "tcp_sendmsg (kernel)": 400, "a<b>": 400}


def test_nothing_is_an_error():
    run = subprocess.run([sys.executable, "-B", SCRIPT], input="", capture_output=True, text=True)
    assert run.returncode == 1 and "no samples" in run.stderr
