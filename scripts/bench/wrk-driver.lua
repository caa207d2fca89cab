-- SPDX-License-Identifier: MIT
-- The part of every generated wrk script that is the same: sends `bench_requests` in rotation, and
-- tells at the end how many had been sent at which CLOCK_MONOTONIC time, so that the server's CPU
-- samples and the requests can be counted over one window. (done() runs in a Lua state of its own
-- and can only copy plain tables from the threads.)
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long sec, nsec; } bench_timespec;
int clock_gettime(int clock, bench_timespec *ts);
]]
local ts = ffi.new("bench_timespec")
local CLOCK_MONOTONIC = 1
local MARK_S, MARK_EVERY = 0.004, 32

local function now()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, ts)
    return tonumber(ts.sec) + tonumber(ts.nsec) * 1e-9
end

local threads = {}

function setup(thread)
    threads[#threads + 1] = thread
end

local sent, last, kinds = 0, 0, #bench_requests
local list = bench_requests
bench_marks = {}

function request()
    sent = sent + 1
    if sent % MARK_EVERY == 1 then
        local t = now()
        if t - last >= MARK_S then
            local m = bench_marks
            last = t
            m[#m + 1] = t
            m[#m + 1] = sent - 1
        end
    end
    return list[sent % kinds + 1]
end

-- wrk "corrects" its latencies before done() sees them: it adds samples for requests that, at the
-- mean pace of the run, would have been sent while a slow one was awaited. With pipelining that
-- pace is wrong and percentiles come out as 0. The addition can be undone exactly: every sample at
-- n > 2e had added one at n-e, n-2e, ... down to e.
ffi.cdef [[ typedef struct { uint64_t count, limit, min, max, data[1]; } bench_stats; ]]

local function measured(summary, latency)
    local stats = ffi.cast("bench_stats **", latency)[0]
    if tonumber(stats.max) ~= latency.max or tonumber(stats.min) ~= latency.min
        or stats.max >= stats.limit then
        return nil      -- another wrk, laid out differently
    end
    local per_connection = math.floor(summary.requests / bench_connections)
    local pace = per_connection > 0 and math.floor(summary.duration / per_connection) or 0
    local min, max, kept, count = latency.min, latency.max, {}, 0
    for n = math.min(min, pace), max do
        local c = stats.data[n]
        if pace > 0 and n > pace and n + pace <= max then
            c = c - stats.data[n + pace]
        end
        if c > 0 then
            kept[#kept + 1] = { n, tonumber(c) }
            count = count + tonumber(c)
        end
    end
    return kept, count
end

local function percentiles(kept, count, shown)
    local at, below = 1, 0
    for _, p in ipairs(shown) do
        local rank = math.max(1, math.ceil(p / 100 * count))
        while below + kept[at][2] < rank do
            below = below + kept[at][2]
            at = at + 1
        end
        io.write(string.format("bench-latency %g %d\n", p, kept[at][1]))
    end
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("bench-summary duration_us=%d requests=%d bytes=%d ",
        summary.duration, summary.requests, summary.bytes))
    io.write(string.format("connect=%d read=%d write=%d status=%d timeout=%d\n",
        e.connect, e.read, e.write, e.status, e.timeout))
    local kept, count = measured(summary, latency)
    if kept and count > 0 then
        percentiles(kept, count, { 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 100 })
        io.write(string.format("bench-samples %d\n", count))
    end
    for i, thread in ipairs(threads) do
        local m = thread:get("bench_marks")
        for k = 1, #m, 2 do
            io.write(string.format("bench-mark %d %.6f %d\n", i, m[k], m[k + 1]))
        end
    end
end
