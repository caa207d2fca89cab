# SPDX-License-Identifier: MIT
"""pytest finds the fixtures here; they live in wire_fixtures.py, which tests/hostile shares."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from wire_fixtures import *  # noqa: E402,F401,F403
