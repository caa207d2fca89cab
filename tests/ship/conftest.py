# SPDX-License-Identifier: MIT
"""The fixtures of the tests over the wire."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))
from wire_fixtures import *  # noqa: E402,F401,F403
