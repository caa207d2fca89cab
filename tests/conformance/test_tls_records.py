# SPDX-License-Identifier: MIT
"""Where records begin and end is nobody's business but TLS's: requests that are cut into records anywhere, records
that are cut into segments anywhere, many in one and one in many, and answers that are received in odd pieces."""

import ssl

import pytest

import wire
from test_tls import GET, LISTEN, connect

VERSIONS = ("TLSv1_2", "TLSv1_3")


@pytest.fixture(params=VERSIONS)
def client(request, servers, backend, certificates):
    """A connection; what it writes lies in sock.outgoing until it is sent."""
    server = servers.get(backend, *certificates.options, listen=LISTEN)
    v = getattr(ssl.TLSVersion, request.param)
    with connect(server, certificates,
                 certificates.context(minimum_version=v, maximum_version=v)) as c:
        assert c.request(GET).body == b"55"       # what tickets there are have come
        yield c


def records(client, *pieces):
    """A record for each of them, as one piece of ciphertext."""
    for data in pieces:
        assert client.sock.tls.write(data) == len(data)
    return client.sock.outgoing.read()


def post(n):
    return wire.request("POST /upload HTTP/1.1", "Content-Length: %d" % n, body=b"x" * n)


def test_cut_into_two_records_anywhere(client):
    """All of them at once: pairs of records, one behind the other."""
    request = wire.request("POST /baseline11?a=13&b=42 HTTP/1.1", "Content-Length: 2", body=b"20")
    cuts = range(1, len(request))
    client.sock.raw.sendall(b"".join(records(client, request[:k], request[k:]) for k in cuts))
    for k in cuts:
        assert client.response().body == b"75", k


def test_record_cut_into_two_segments_anywhere(client):
    for k in range(1, len(GET) + 22):             # header, type and tag; of 1.2 seven bytes more
        sealed = records(client, GET)
        client.sock.raw.sendall(sealed[:k])
        client.sock.raw.sendall(sealed[k:])
        assert client.response().body == b"55", k


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 16, 29, 64, 1000])
def test_odd_segments(client, n):
    """Two requests in a record, one in three, a half of one with the next, in segments of n bytes."""
    sealed = records(client, GET * 2, GET[:9], GET[9:10], GET[10:], GET + GET[:20], GET[20:] + post(300)[:-100],
                     b"x" * 99, b"x" + GET)
    for at in range(0, len(sealed), n):
        client.sock.raw.sendall(sealed[at:at + n])
    assert [client.response().body for _ in range(7)] == [b"55"] * 5 + [b"300", b"55"]


def test_request_over_many_records(client):
    for n in list(range(1, 20)) + [100]:
        request = post(40 * n)
        size = -(-len(request) // n)
        client.sock.raw.sendall(records(client, *(request[at:at + size] for at in range(0, len(request), size))))
        assert client.response().body == b"%d" % (40 * n)


def test_largest_records(client):
    client.sock.raw.sendall(records(client, post(100000)))
    assert client.response().body == b"100000"


@pytest.mark.parametrize("n", [1, 2, 5, 6, 21, 22, 23, 1000])
def test_answers_in_odd_pieces(client, n):
    """As they are received: by n bytes."""
    want = client.get("/json/20")
    request = wire.request("GET /json/20 HTTP/1.1")
    sock = client.sock
    sock.raw.sendall(records(client, request * 2 + GET))
    reader, got = wire.ResponseReader(), 0
    while len(reader.responses) < 3:
        data = sock.raw.recv(n)
        assert data
        sock.incoming.write(data)
        got += len(data)
        try:
            while True:
                reader.feed(sock.tls.read(65536))
        except ssl.SSLWantReadError:
            pass
    assert [r.body for r in reader.responses] == [want.body, want.body, b"55"]
    assert got > 2 * len(want.body)
