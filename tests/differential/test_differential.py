# SPDX-License-Identifier: MIT
"""Every pair of backends answers the same streams alike: BIVALVE_STREAMS of them (3000) from BIVALVE_SEED."""

import pytest

import differ


@pytest.mark.parametrize("names", differ.pairs(), ids="-".join)
def test_pair(names):
    assert not differ.run_pair(names, differ.STREAMS, differ.SEED)


def test_there_is_a_pair():
    assert differ.pairs(), "no backend runs here"
