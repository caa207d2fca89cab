# SPDX-License-Identifier: MIT
"""The endpoints: their bodies against oracles of our own, and what the head of a response says."""

import calendar
import json
import random
import time

import pytest

import wire
from wire import request

SHAPE = ["id", "name", "category", "price", "quantity", "active", "tags", "rating"]


def records_to_try():
    """A dataset with everything JSON can hold in such a record."""
    out = []
    texts = ["plain", "quote \" back\\slash / slash", "controls \b\f\n\r\t\x01\x1f", "", "é ü ß",
             "日本語", "emoji \U0001f600 end", "nul \x00 inside", "del \x7f", "\u2028\u2029", "a" * 3000,
             "</script>", "\ufeff bom", "\u0800\uffff\U00010000\U0010fffd"]
    numbers = [0, 1, 7, 328, 99999, 2 ** 31, 2 ** 40]
    for i in range(60):
        out.append({
            "id": i + 1, "name": texts[i % len(texts)], "category": texts[(i * 5 + 3) % len(texts)][:40],
            "price": numbers[i % len(numbers)], "quantity": [0, 1, 15, 1000][i % 4],
            "active": i % 3 == 0, "tags": texts[:i % 5],
            "rating": {"score": i % 50, "count": i * i}})
    return out


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "records.json"
    records = records_to_try()
    path.write_text(json.dumps(records), encoding="utf-8")
    return str(path), records


def fetch(server, path):
    e = server.exchange(request("GET %s HTTP/1.1" % path))
    assert not e.error and len(e.finals) == 1, e.story()
    return e.finals[0]


def expected(records, count, m):
    items = []
    for r in records[:count]:
        item = {k: r[k] for k in SHAPE}
        item["total"] = r["price"] * r["quantity"] * m
        items.append(item)
    return {"items": items, "count": count}


@pytest.mark.parametrize("m", [None, 0, 1, 3, -2, 1000])
@pytest.mark.parametrize("count", [0, 1, 5, 14, 50, 60])
def test_json_against_oracle(servers, backend, dataset, count, m):
    path, records = dataset
    server = servers.get(backend, "--dataset", path)
    target = "/json/%d" % count + ("" if m is None else "?m=%d" % m)
    r = fetch(server, target)
    assert r.status == 200
    assert r.get("content-type").split(";")[0].strip() == "application/json"
    pairs = []
    got = json.loads(r.body.decode("utf-8"), object_pairs_hook=lambda p: (pairs.append(p), dict(p))[1])
    assert got == expected(records, count, 1 if m is None else m)
    for p in pairs:
        assert len(dict(p)) == len(p), "a member is there twice: %r" % p
    # No white space outside strings: as long as the same written compactly by somebody else.
    text = r.body.decode("utf-8")
    in_string = escaped = False
    for c in text:
        if in_string:
            in_string = escaped or c != '"'
            escaped = c == "\\" and not escaped
        elif c == '"':
            in_string = True
        else:
            assert c not in " \t\r\n", "white space in what should be compact"


def test_json_overflow_of_a_total(servers, backend, tmp_path):
    path = tmp_path / "big.json"
    r = records_to_try()[0]
    r.update(price=2 ** 31, quantity=2 ** 31)
    small = dict(records_to_try()[1], price=0, quantity=0)
    path.write_text(json.dumps([small, r]))
    with wire.Server(backend, "--dataset", str(path)) as s:
        good = fetch(s, "/json/2?m=1")
        assert good.status == 200
        assert json.loads(good.body)["items"][1]["total"] == 2 ** 62
        assert fetch(s, "/json/2?m=2").status == 400          # 2^63
        low = fetch(s, "/json/2?m=-2")
        assert low.status == 200 and json.loads(low.body)["items"][1]["total"] == -2 ** 63
        assert fetch(s, "/json/2?m=-3").status == 400
        assert fetch(s, "/json/1?m=9223372036854775807").status == 200    # 0 x anything
        assert fetch(s, "/json/3").status == 400


def test_shipped_dataset(server):
    r = fetch(server, "/json/50?m=2")
    got = json.loads(r.body)
    assert got["count"] == 50 and len(got["items"]) == 50
    for item in got["items"]:
        assert set(item) == set(SHAPE) | {"total"}
        assert item["total"] == item["price"] * item["quantity"] * 2
    assert len(set(item["id"] for item in got["items"])) == 50
    assert fetch(server, "/json/51").status == 400


def test_sums_at_random(server):
    rng = random.Random(5)
    exchanges = []
    for _ in range(300):
        numbers = [rng.randint(-10 ** rng.randint(1, 36), 10 ** rng.randint(1, 36))
                   for _ in range(rng.randint(0, 6))]
        if rng.random() < 0.6:       # bring the sum back into the range, through large parts
            numbers.append(-sum(numbers) + rng.choice(
                [0, 2 ** 63 - 1, -2 ** 63, 2 ** 63, -2 ** 63 - 1, rng.randint(-2 ** 63, 2 ** 63 - 1)]))
        rng.shuffle(numbers)
        body = None
        values = list(numbers)
        if values and rng.random() < 0.5:
            body = str(values.pop())
        query = "&".join("%s=%s" % (rng.choice("abxyz"), "".join(
            "%%%02x" % ord(c) if rng.random() < 0.2 else c for c in str(n))) for n in values)
        target = "/baseline11" + ("?" + query if query else "")
        if body is None:
            data = request("GET %s HTTP/1.1" % target)
        elif rng.random() < 0.5:
            data = request("POST %s HTTP/1.1" % target, "Content-Length: %d" % len(body), body=body)
        else:
            chunks = "".join("1\r\n%s\r\n" % c for c in body) + "0\r\n\r\n"
            data = request("POST %s HTTP/1.1" % target, "Transfer-Encoding: chunked", body=chunks)
        big = [n for n in numbers if len(str(abs(n))) > 36]
        if big:
            continue                 # exact up to 36 digits is what is promised
        exchanges.append(wire.Exchange(data, split=[rng.randrange(len(data))], tag=sum(numbers)))
    wire.drive(server.addr, exchanges)
    for e in exchanges:
        assert not e.error and len(e.finals) == 1, e.story()
        if -2 ** 63 <= e.tag < 2 ** 63:
            assert (e.finals[0].status, e.finals[0].body) == (200, b"%d" % e.tag), e.story()
        else:
            assert e.finals[0].status == 400, e.story()


@pytest.mark.parametrize("path", ["/pipeline", "/baseline11?a=1&b=2", "/json/0", "/json/50?m=9",
                                  "/nosuch", "/baseline11?a=x", "/json/99"])
def test_head_has_the_head_of_get(server, path):
    with server.connect() as c:
        got = c.get(path)
    with server.connect() as c:
        head = c.get(path, method="HEAD")
        assert c.quiet(0.05) or c.sock.recv(1) == b"", "bytes behind the head of a HEAD"
    assert head.status == got.status and head.reason == got.reason
    assert head.length == got.length == len(got.body)

    def rest(r):
        return [f for f in r.fields if f[0] != "date"]
    assert rest(head) == rest(got)


def test_plain_types_and_no_newline(server):
    for path, body in (("/pipeline", b"ok"), ("/baseline11?a=13&b=42", b"55")):
        r = fetch(server, path)
        assert r.body == body
        assert r.get("content-type").split(";")[0].strip() == "text/plain"


def test_date_moves(server):
    with server.connect() as c:
        first = c.get("/pipeline").get("date")
        time.sleep(2.2)
        second = c.get("/pipeline").get("date")

    def seconds(d):
        return calendar.timegm(time.strptime(d, "%a, %d %b %Y %H:%M:%S GMT"))
    assert 1 <= seconds(second) - seconds(first) <= 20
    assert abs(seconds(second) - time.time()) < 20


@pytest.mark.parametrize("path,word", [
    ("/baseline11?a=13&b=4x", None), ("/baseline11?a=9223372036854775808", None), ("/json/51", None),
    ("/json/5?m=x", None), ("/json/5?m=9223372036854775807", None), ("/json/5?m=1&m=2", None)])
def test_400_says_what_was_wrong(server, path, word):
    r = fetch(server, path)
    assert r.status == 400
    text = r.body.decode("ascii")
    assert 3 < len(text.strip()) < 200 and "\n" not in text.rstrip("\n"), text
    assert r.get("content-type").startswith("text/plain")


def test_400_texts_differ(server):
    """One fixed text for everything would not say what was wrong."""
    texts = set(fetch(server, p).body for p in (
        "/baseline11?a=x", "/baseline11?a=9223372036854775808", "/json/51", "/json/5?m=1&m=2",
        "/json/5?m=9223372036854775807"))
    assert len(texts) >= 4, texts


def test_options_star_is_204_without_length(server):
    e = server.exchange(request("OPTIONS * HTTP/1.1"))
    r = e.finals[0]
    assert r.status == 204 and r.get("content-length") is None and not r.body, e.story()
    assert {"get", "head", "post", "options"} <= set(r.tokens("allow"))


def test_large_posts_stream(server):
    """8 MiB less a byte or two of white space around a number, with both framings."""
    size = 8 * 1024 * 1024
    body = b" " * (size - 3) + b"20\n"
    exchanges = [wire.Exchange(request("POST /baseline11?a=1 HTTP/1.1", "Content-Length: %d" % size,
                                       body=body))]
    chunk = b"fffe\r\n" + b" " * 0xfffe + b"\r\n"
    exchanges.append(wire.Exchange(request(
        "POST /baseline11?a=1 HTTP/1.1", "Transfer-Encoding: chunked",
        body=chunk * 127 + b"2\r\n20\r\n0\r\n\r\n")))
    before = server.memory() if server.readable() else 0
    wire.drive(server.addr, exchanges)
    for e in exchanges:
        assert [r.status for r in e.finals] == [200] and e.finals[0].body == b"21", e.error
        assert e.probe is not None and e.probe.body == b"ok"
    if before:
        assert server.memory() - before < 2 * 1024 * 1024, "a body was stored"


def test_templates(server):
    """The load generators' requests, as they send them."""
    cases = [("GET /baseline11?a=13&b=42 HTTP/1.1", [], b"", b"55"),
             ("POST /baseline11?a=13&b=42 HTTP/1.1", ["Content-Length: 2"], b"20", b"75"),
             ("POST /baseline11?a=13&b=42 HTTP/1.1", ["Transfer-Encoding: chunked"],
              b"2\r\n20\r\n0\r\n\r\n", b"75"),
             ("GET /pipeline HTTP/1.1", [], b"", b"ok")]
    for line, fields, body, answer in cases:
        e = server.exchange(request(line, *fields, body=body, host="localhost:8080"))
        assert e.finals[0].status == 200 and e.finals[0].body == answer, e.story()
