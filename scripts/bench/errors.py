# SPDX-License-Identifier: MIT
"""The one exception that ends the tool with a message instead of a traceback."""


class BenchError(Exception):
    """What went wrong and the way out, ready to be printed."""
