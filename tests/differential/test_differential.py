# SPDX-License-Identifier: MIT
"""Every pair of backends answers the same streams alike: BIVALVE_STREAMS of them (3000) from BIVALVE_SEED.
Each answers a part of them over TLS as it does without, however they are cut into records."""

import pytest

import differ
import wire
import wire_tls


@pytest.mark.parametrize("names", differ.pairs(), ids="-".join)
def test_pair(names):
    assert not differ.run_pair(names, differ.STREAMS, differ.SEED)


@pytest.mark.parametrize("name", wire.backends()[0])
def test_tls(name):
    if not wire_tls.available():
        pytest.skip("built without OpenSSL")
    certificates = wire_tls.Certificates()
    try:
        assert not differ.run_tls(name, certificates, max(differ.STREAMS // 8, 1), differ.SEED)
    finally:
        certificates.close()


def test_there_is_a_pair():
    assert differ.pairs(), "no backend runs here"
