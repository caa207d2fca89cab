# SPDX-License-Identifier: MIT
"""bivalve-bench: compares HTTP servers on one machine, in numbers with their uncertainty."""

# The form of results.json; raised when a reader of the old form would misread the new
# (doc/bench-results.md).
RESULTS_SCHEMA = 1
