# SPDX-License-Identifier: MIT
"""--tls-ktls where the kernel has no TLS. (Where it has: WIRE_TLS_OPTIONS="--tls-ktls on" for all of tls.suite;
a kernel that is played is in tests/unit/test_tls_ktls.c.)"""

import errno
import socket
import ssl

import pytest

import wire
from test_tls import GET, LISTEN, connect


def kernel_has_tls():
    """As the server asks it: a socket without a connection is refused for being one, or for what is asked."""
    with socket.socket() as s:
        try:
            s.setsockopt(socket.IPPROTO_TCP, 31, b"tls")    # TCP_ULP
        except OSError as e:
            return e.errno == errno.ENOTCONN
    return True


def test_ktls_where_the_kernel_has_none(start, certificates):
    """`on` does not start, and says the way out; `auto` says so and serves by OpenSSL."""
    if kernel_has_tls():
        pytest.skip("this kernel has TLS")
    for test in ((), ("--test",)):
        done = wire.run(*test, "--tls-listen", "127.0.0.1:0", *certificates.options, "--tls-ktls", "on")
        assert done.returncode == 1, done
        assert "--tls-ktls on: the kernel has no TLS (" in done.stderr, done.stderr
        assert "modprobe tls" in done.stderr and "--tls-ktls auto" in done.stderr, done.stderr
    server = start(*certificates.options, "--tls-ktls", "auto", listen=LISTEN)
    assert "--tls-ktls auto: the kernel has no TLS (" in server.log()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with connect(server, certificates, certificates.context(maximum_version=version)) as c:
            assert c.request(GET).body == b"55"
    stats = server.stats()
    assert stats["tls_handshakes"] == 2 and stats["tls_ktls"] == stats["tls_ktls_refused"] == 0, stats
