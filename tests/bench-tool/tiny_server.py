#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small HTTP server that answers the profiles, and can be told to do it wrongly.

tiny_server.py PORT [key=value ...]
  max=N          close a connection after N requests
  baseline=TEXT  another answer to /baseline11
  die=S          exit with status 3 after S seconds, saying why
  late=N         another answer than ok to /pipeline after N requests
  burn=US        use so much CPU time for every request
  host=ADDRESS   listen there instead of 127.0.0.1
  peers=FILE     write there the addresses that connect, one a line
  child=1        serve from a child in a session of its own that ignores SIGTERM
"""
import asyncio
import json
import os
import signal
import sys
import time

OPTIONS = dict(w.split("=", 1) for w in sys.argv[2:])
RECORDS = [{"id": i, "price": 10 + i, "quantity": 1 + i % 7} for i in range(50)]
served = 0
peers = set()


def answer(method, target, body):
    global served
    served += 1
    end = time.process_time_ns() + 1000 * int(OPTIONS.get("burn", 0))
    while time.process_time_ns() < end:
        pass
    path, _, query = target.partition("?")
    if path == "/baseline11":
        total = sum(int(kv.partition("=")[2]) for kv in query.split("&"))
        if method == "POST":
            total += int(body)
        return 200, OPTIONS.get("baseline", str(total)), "text/plain"
    if path == "/pipeline":
        late = int(OPTIONS.get("late", 0))
        return (
            200,
            "ok" if not late or served < late else "something longer than it ought to be",
            "text/plain",
        )
    if path.startswith("/json/"):
        m = int(query.partition("=")[2] or 1)
        items = [dict(r, total=r["price"] * r["quantity"] * m) for r in RECORDS[: int(path[6:])]]
        return 200, json.dumps({"items": items, "count": len(items)}), "application/json"
    return 404, "no", "text/plain"


async def read_body(reader, headers):
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            n = int(await reader.readline(), 16)
            body += await reader.readexactly(n)
            await reader.readline()
            if n == 0:
                return body
    return await reader.readexactly(int(headers.get("content-length", 0)))


def note_peer(address):
    if "peers" in OPTIONS and address not in peers:
        peers.add(address)
        with open(OPTIONS["peers"], "a", encoding="ascii") as f:
            f.write(address + "\n")


async def serve(reader, writer):
    note_peer(writer.get_extra_info("peername")[0])
    limit, done = int(OPTIONS.get("max", 0)), 0
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {
                k.lower(): v.strip().lower()
                for k, _, v in (h.partition(":") for h in head[1:] if h)
            }
            status, body, kind = answer(method, target, await read_body(reader, headers))
            done += 1
            last = "Connection: close\r\n" if done == limit else ""
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length:"
                f" {len(body)}\r\n{last}\r\n{body}".encode()
            )
            await writer.drain()
            if last:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    host = OPTIONS.get("host", "127.0.0.1")
    server = await asyncio.start_server(serve, host, int(sys.argv[1]), backlog=1024)
    if "die" in OPTIONS:
        asyncio.get_running_loop().call_later(float(OPTIONS["die"]), die)
    async with server:
        await server.serve_forever()


def die():
    print("tiny_server: dying as I was told", file=sys.stderr, flush=True)
    os._exit(3)


if "child" in OPTIONS and os.fork():
    signal.pause()
elif "child" in OPTIONS:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
asyncio.run(main())
