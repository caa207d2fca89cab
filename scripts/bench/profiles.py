# SPDX-License-Identifier: MIT
"""The profiles: what is asked of a server and which answers are right. One small file each; see
profiles/baseline.ini.

[profile]   title, requests (names, in rotation), pipeline (default 1), requests-per-connection
            (default 0: no limit),
            rate-requests (the ones a fixed-rate run can send, when not all are GET),
            rate (requests/s that are offered), connections (how many, where --conns is not given),
            tls = yes (https://, a new certificate for each measurement),
            idle (so many further connections, each after one request, are kept open beside)
[request N] method, target, headers (lines of the head), body, or body-bytes (so many are made up),
            framing (length or chunked), file-bytes (GET of a file of so many bytes, which is made, in
            place of target and expect),
            expect (the whole body), expect-body = sent (the same as was sent) or
            expect-json (COUNT MULTIPLIER: so many items, each total price x quantity x multiplier)
"""
import configparser
import gzip
import json
import os
import zlib

from .errors import BenchError

PROFILE_DIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "profiles")
DEFAULT = ("baseline", "pipelined", "limited-conn", "json")
SHAPES = ("baseline", "pipelined", "limited-conn")  # that mean something whatever is asked for
EXTRAS = ("tls", "idle")  # what not every load generator can do
PROFILE_KEYS = {
    *EXTRAS,
    "title",
    "requests",
    "pipeline",
    "requests-per-connection",
    "rate-requests",
    "rate",
    "connections",
    "turns",
}
REQUEST_KEYS = {
    "method",
    "target",
    "headers",
    "body",
    "body-bytes",
    "file-bytes",
    "framing",
    "expect",
    "expect-body",
    "expect-json",
}
FILE_BYTES_MAX = 64 << 20
BODY_BYTES_MAX = 8 << 20  # generators hold a request whole
HOST = "localhost:8080"


class Request:
    """One request: the bytes to send and the answer to expect."""

    def __init__(
        self, name, method, target, body=None, chunked=False, expect=None, expect_json=None, host=HOST
    ):
        self.host = host
        self.headers = []
        self.file_bytes = 0  # it asks for a file of so many, file_content()
        self.name, self.method, self.target = name, method, target
        self.body, self.chunked = body, chunked
        self.expect, self.expect_json = expect, expect_json

    def raw(self):
        head = f"{self.method} {self.target} HTTP/1.1\r\nHost: {self.host}\r\n"
        head += "".join(f"{line}\r\n" for line in self.headers)
        if self.body is None:
            return (head + "\r\n").encode()
        body = self.body.encode()
        if self.chunked:
            return (
                head + "Transfer-Encoding: chunked\r\n\r\n"
            ).encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        return (head + f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    def fault(self, status, body, coding=""):
        """Why this answer is wrong, or ""."""
        if not 200 <= status <= 299:
            return f"status {status}"
        if coding == "br":  # which Python cannot read
            return "" if body else "an empty body"
        if coding == "gzip":
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError, zlib.error) as e:
                return f"not gzip: {e}"
        if self.expect is not None:
            want = self.expect.encode()
            return "" if body == want else f"body {body[:60]!r} where {want!r} was due"
        if self.expect_json:
            return json_fault(body, *self.expect_json)
        return ""


def json_fault(body, count, multiplier):
    """Why this is not the document of `count` records at this multiplier, or ""."""
    try:
        doc = json.loads(body)
        items = doc["items"]
        if doc["count"] != count or len(items) != count:
            return f"count {doc['count']!r} and {len(items)} items where {count} were due"
        for i, item in enumerate(items):
            want = item["price"] * item["quantity"] * multiplier
            if item["total"] != want:
                return f"item {i}: total {item['total']!r} where {want} was due"
    except (ValueError, KeyError, TypeError) as e:
        return f"not the expected JSON: {e!r}"
    return ""


class Profile:
    """A named mix of requests."""

    def __init__(self, name, title, requests, pipeline, per_connection, rate_requests):
        self.name, self.title, self.requests = name, title, requests
        self.pipeline, self.per_connection = pipeline, per_connection
        self.rate_requests = rate_requests
        self.rate = self.conns = None  # what the profile itself asks for
        self.tls, self.idle = False, 0
        self.turns = True  # servers can be measured in turns of milliseconds

    def asking(self, request, whose):
        """The profile's shape with another request, for the server named `whose`."""
        name = f"{self.name}-{whose}"
        return self.with_extras(
            Profile(name, self.title, [request], self.pipeline, self.per_connection, [request])
        )

    def with_extras(self, made):
        """`made` of this one, on the same kind of connections."""
        made.tls, made.idle, made.turns = self.tls, self.idle, self.turns
        return made

    def bytes(self):
        """Of a request's body and its answer's, the most of all requests."""
        return max(len(r.body or "") + max(r.file_bytes, len(r.expect or "")) for r in self.requests)

    def files(self):
        """Sizes of the files that are asked for."""
        return {r.file_bytes for r in self.requests if r.file_bytes}

    def for_rate(self, generator):
        """(the profile as a fixed rate can express it with this generator or None, what that leaves
        out or why not)."""
        if self.pipeline > 1:
            return None, f"{self.name}: batches of {self.pipeline} cannot be sent at a fixed rate"
        if not generator.GET_ONLY:
            return self, ""
        if self.per_connection:
            return None, (
                f"{self.name}: {generator.NAME} does not reconnect when the server closes"
            )
        if not self.rate_requests:
            return None, f"{self.name}: {generator.NAME} can only send GET"
        note = "" if self.rate_requests == self.requests else f"{self.name}: GET only"
        made = Profile(self.name, self.title, self.rate_requests, 1, 0, self.rate_requests)
        made.rate, made.conns = self.rate, self.conns
        return self.with_extras(made), note


def parse(text, name, path):
    """A Profile from the text of its file."""
    ini = configparser.ConfigParser(interpolation=None, strict=True)
    try:
        ini.read_string(text, path)
    except configparser.Error as e:
        raise BenchError(f"{path}: {e}") from None

    def bad(section, what):
        return BenchError(f"{path}: [{section}]: {what}")

    def number(section, key, default, low, high):
        value = section.get(key, str(default)).strip()
        if not value.isdigit() or not low <= int(value) <= high:
            raise bad(
                section.name, f"{key} = {value}: a whole number from {low} to {high} is needed"
            )
        return int(value)

    if "profile" not in ini:
        raise bad("profile", "section missing")
    top = ini["profile"]
    for section in ini.sections():
        known = PROFILE_KEYS if section == "profile" else REQUEST_KEYS
        if section != "profile" and not section.startswith("request "):
            raise bad(section, "unknown section; [profile] and [request NAME] are known")
        for key in ini[section]:
            if key not in known:
                raise bad(section, f"unknown key {key}; known: {', '.join(sorted(known))}")
    requests = {}
    for section in ini.sections():
        if section != "profile":
            requests[section[len("request ") :].strip()] = parse_request(ini[section], bad)

    def pick(key):
        out = []
        for n in [n.strip() for n in top.get(key, "").split(",") if n.strip()]:
            if n not in requests:
                raise bad("profile", f"{key} names {n}, and there is no [request {n}]")
            out.append(requests[n])
        return out

    chosen = pick("requests")
    if not chosen:
        raise bad("profile", "requests = is missing or empty")
    pipeline = number(top, "pipeline", 1, 1, 64)
    if pipeline > 1 and len(chosen) > 1:
        raise bad("profile", "a pipelined profile repeats one request")
    gets = all(r.method == "GET" and r.body is None for r in chosen)
    rate = pick("rate-requests") or (chosen if gets else [])
    if any(r.method != "GET" or r.body is not None for r in rate):
        raise bad("profile", "rate-requests can only be GET")
    made = Profile(
        name,
        top.get("title", name),
        chosen,
        pipeline,
        number(top, "requests-per-connection", 0, 0, 1000000),
        rate,
    )
    made.rate = number(top, "rate", 0, 0, 10**9) or None
    made.conns = number(top, "connections", 0, 0, 1000000) or None
    made.turns = yes_no(top, "turns", "yes", bad)
    if made.rate and pipeline > 1:
        raise bad("profile", "batches cannot be sent at a fixed rate: pipeline or rate")
    return parse_extras(made, top, number, bad)


def parse_extras(profile, top, number, bad):
    """What not every load generator can do."""
    profile.idle = number(top, "idle", 0, 0, 1000000)
    profile.tls = yes_no(top, "tls", "no", bad)
    return profile


def yes_no(section, key, default, bad):
    word = section.get(key, default)
    if word not in ("yes", "no"):
        raise bad(section.name, f"{key} = yes or no")
    return word == "yes"


PATTERN = "0123456789abcdefghijklmnopqrstuvwxyz\n"


def file_content(size):
    """Of a file of so many bytes, and of a body."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def parse_body(section, bad):
    """The body of a request, or None."""
    size = section.get("body-bytes")
    if size is None:
        return section.get("body")
    if "body" in section or not size.isdigit() or not 0 < int(size) <= BODY_BYTES_MAX:
        raise bad(section.name, f"body-bytes = 1 to {BODY_BYTES_MAX}, and no body =")
    return file_content(int(size))


def parse_file(section, bad):
    """The bytes of the file that a request asks for, or 0; what follows from it is filled in."""
    size = section.get("file-bytes", "0")
    if not size.isdigit() or int(size) > FILE_BYTES_MAX:
        raise bad(section.name, f"file-bytes = 1 to {FILE_BYTES_MAX}")
    if int(size):
        if "target" in section or "expect" in section:
            raise bad(section.name, "file-bytes = says what target = and expect = are")
        section["target"] = f"/static/{size}.txt"
        section["expect"] = file_content(int(size))
    return int(size)


def parse_request(section, bad):
    name = section.name[len("request ") :].strip()
    file_bytes = parse_file(section, bad)
    method, target = section.get("method", "GET"), section.get("target", "")
    if not target.startswith("/"):
        raise bad(section.name, "target = must begin with /")
    body = parse_body(section, bad)
    framing = section.get("framing", "length")
    if framing not in ("length", "chunked"):
        raise bad(section.name, f"framing = {framing}: length or chunked")
    expect_json = section.get("expect-json")
    if expect_json is not None:
        words = expect_json.split()
        if len(words) != 2 or not all(w.lstrip("-").isdigit() for w in words):
            raise bad(section.name, "expect-json = COUNT MULTIPLIER")
        expect_json = (int(words[0]), int(words[1]))
    expect = section.get("expect")
    if "expect-body" in section:
        if section["expect-body"] != "sent" or expect is not None or body is None:
            raise bad(section.name, "expect-body = sent: with a body, and without expect =")
        expect = body
    if (expect is None) == (expect_json is None):
        raise bad(
            section.name,
            "one of expect = and expect-json = is needed: an unchecked answer measures nothing",
        )
    made = Request(
        name,
        method,
        target,
        body,
        framing == "chunked",
        expect,
        expect_json,
    )
    made.headers = [h.strip() for h in section.get("headers", "").splitlines() if h.strip()]
    made.file_bytes = file_bytes
    return made


def available(extra_dir=None):
    """{name: path} of all profiles; a file in extra_dir replaces a shipped one of its name."""
    found = {}
    for folder in (PROFILE_DIR, extra_dir):
        if not folder:
            continue
        try:
            names = sorted(os.listdir(folder))
        except OSError as e:
            raise BenchError(f"profiles folder {folder}: {e.strerror}") from None
        found.update({n[:-4]: os.path.join(folder, n) for n in names if n.endswith(".ini")})
    return found


def load(names, extra_dir=None):
    """The named profiles, in order; the default four when no name is given."""
    files = available(extra_dir)
    out = []
    for name in names or DEFAULT:
        if name not in files:
            raise BenchError(
                f"no profile {name}; there are: {', '.join(sorted(files))} (add one: drop NAME.ini"
                " into a folder and name it with --profiles-dir)"
            )
        with open(files[name], encoding="utf-8") as f:
            out.append(parse(f.read(), name, files[name]))
    return out
