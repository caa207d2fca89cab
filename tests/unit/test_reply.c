/* SPDX-License-Identifier: MIT */
/*
 * test_reply.c - the response parser over a table of streams: every one gives what its row says, in
 * one piece, byte by byte, cut once at every place, and cut at random; it is refused at the very
 * byte that is wrong. Then limits, each at its edge, and every byte at every place.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reply.h"
#include "reply_trace.h"
#include "util.h"

/* A stream is `good` and then `bad`: where the latter is not empty, its first byte is refused. */
struct row {
    const char *good;
    size_t good_len;
    const char *bad;
    size_t bad_len;
    const char *expected;
    reply_trace_heads heads;
};

#define TAKEN(stream, expected)                        \
    {                                                  \
        stream, sizeof(stream) - 1, "", 0, expected, 0 \
    }
#define TO_HEAD(stream, heads, expected)                   \
    {                                                      \
        stream, sizeof(stream) - 1, "", 0, expected, heads \
    }
#define REFUSED(good, bad, expected)                              \
    {                                                             \
        good, sizeof(good) - 1, bad, sizeof(bad) - 1, expected, 0 \
    }

/* clang-format off */
#define OK      "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define NOTHING OK "Content-Length: 0\r\n\r\n"
#define DATE    "Sun, 06 Nov 1994 08:49:37 GMT"

static const struct row status_lines[] = {
    TAKEN("", ""),
    TAKEN("H", "cut head"),
    TAKEN("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r", "cut head"),
    TAKEN("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "200 close"),
    /* a later minor version is read as 1.1 (RFC 9110 section 2.5) */
    TAKEN("HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN("HTTP/1.9 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200 keep"),
    /* the reason may be empty, the space before it may not be missing */
    TAKEN("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN("HTTP/1.1 200  \t \xff!~\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN("HTTP/1.1 599 Not So Good\r\nContent-Length: 0\r\n\r\n", "599 keep"),
    REFUSED("HTTP/1.1 200", "\r\nContent-Length: 0\r\n\r\n", "error STATUS"),
    REFUSED("HTTP/1.1 200", "\tOK\r\n", "error STATUS"),
    REFUSED("HTTP/1.1 200", "0 OK\r\n", "error STATUS"),
    REFUSED("HTTP/1.1 20", " OK\r\n", "error STATUS"),
    REFUSED("HTTP/1.1 ", " 200 OK\r\n", "error STATUS"),
    REFUSED("HTTP/1.1 ", "-20 OK\r\n", "error STATUS"),
    REFUSED("HTTP/1.1 2", "x0 OK\r\n", "error STATUS"),
    REFUSED("HTTP/1.1 099", " OK\r\n", "error STATUS"),
    REFUSED("HTTP/1.1 600", " OK\r\n", "error STATUS"),
    REFUSED("HTTP/1.1 999", " OK\r\n", "error STATUS"),
    REFUSED("HTTP/1.1", "\t200 OK\r\n", "error VERSION"),
    REFUSED("HTTP/1.1", "200 OK\r\n", "error VERSION"),
    REFUSED("HTTP/1.1", "0 200 OK\r\n", "error VERSION"),
    REFUSED("HTTP/1.", "x 200 OK\r\n", "error VERSION"),
    REFUSED("HTTP/1.", " 200 OK\r\n", "error VERSION"),
    REFUSED("HTTP/1", "1 200 OK\r\n", "error VERSION"),
    REFUSED("HTTP/", "2 200\r\n", "error VERSION"),
    REFUSED("HTTP/", "2.0 200 OK\r\n", "error VERSION"),
    REFUSED("HTTP/", "0.9 200 OK\r\n", "error VERSION"),
    REFUSED("HTTP", " /1.1 200 OK\r\n", "error VERSION"),
    REFUSED("", "http/1.1 200 OK\r\n", "error VERSION"),
    REFUSED("", "\r\nHTTP/1.1 200 OK\r\n", "error VERSION"), /* requests may have it before them */
    REFUSED("", " HTTP/1.1 200 OK\r\n", "error VERSION"),
    REFUSED("", "ICY 200 OK\r\n", "error VERSION"),
    REFUSED("", "\0", "error VERSION"),
    REFUSED("HTTP/1.1 200 O", "\0K\r\n", "error REASON"),
    REFUSED("HTTP/1.1 200 O", "\x7fK\r\n", "error REASON"),
    REFUSED("HTTP/1.1 200 ", "\x1b[31mOK\r\n", "error REASON"),
    REFUSED("HTTP/1.1 200 OK", "\nContent-Length: 0\r\n\r\n", "error LINE_END"),
    REFUSED("HTTP/1.1 200 OK\r", "Content-Length: 0\r\n\r\n", "error LINE_END"),
    REFUSED("HTTP/1.1 200 OK\r", "\r\n", "error LINE_END"),
};

static const struct row fields[] = {
    TAKEN(OK "a:\r\n!#$%&'*+-.^_`|~09AZaz: \t x \x80\xff\t \r\nContent-Length:0\r\n\r\n", "200 keep"),
    TAKEN(OK "Con: 1\r\nContent: 2\r\nContent-Lengt: 3\r\nContent-Lengths: 4\r\nXContent-Length: 5\r\n"
          "Connectio: close\r\nConnections: close\r\nTransfer-Encodin: x\r\nTransfer-Encodings: x\r\n"
          "Conteconnection: close\r\nConnection-Length: 7\r\nContent-Lengtion: close\r\nDat: x\r\nDates: x\r\n"
          "CONTENT-LENGTH: 1\r\n\r\nx", "200 keep body 1 \"x\""),
    /* as long as those that matter, and different in one place */
    TAKEN(OK "Content-Lengtj: 1\r\nContenx-Length: 2\r\nCantent-Length: 3\r\nXontent-Length: 4\r\n"
          "Connectiom: close\r\nCoxnection: close\r\nConxection: close\r\nYonnection: close\r\n"
          "Transfer-Encodinh: x\r\nTrxnsfer-Encoding: x\r\nZransfer-Encoding: x\r\n"
          "Datf: " DATE "\r\nDxte: " DATE "\r\nPate: " DATE "\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    REFUSED(OK, "\nX: y\r\n", "error LINE_END"),
    REFUSED(OK "\r", "X: y\r\n", "error LINE_END"),
    REFUSED(OK "X: y\r\n\r", "\r\n", "error LINE_END"),
    REFUSED(OK "X: y", "\n\r\n", "error LINE_END"),
    REFUSED(OK "X: y\r", "Y: z\r\n", "error LINE_END"),
    REFUSED(OK "X:", "\n\r\n", "error LINE_END"),
    REFUSED(OK, " X: y\r\n", "error FIELD_NAME"), /* RFC 9112 section 2.2: not behind the status line either */
    REFUSED(OK, "\tX: y\r\n", "error FIELD_NAME"),
    REFUSED(OK, ": y\r\n", "error FIELD_NAME"),
    REFUSED(OK, "\"X\": y\r\n", "error FIELD_NAME"),
    REFUSED(OK, "\xc3\xa4: y\r\n", "error FIELD_NAME"),
    REFUSED(OK "X", " : y\r\n", "error FIELD_NAME"),
    REFUSED(OK "Content-Length", " : 0\r\n", "error FIELD_NAME"),
    REFUSED(OK "X", "\r\n", "error FIELD_NAME"),
    REFUSED(OK "X", "\n", "error FIELD_NAME"),
    REFUSED(OK "X", "\0: y\r\n", "error FIELD_NAME"),
    REFUSED(OK "X: y\r\n", " z\r\n", "error FIELD_FOLD"),
    REFUSED(OK "X: y\r\n", "\tz\r\n", "error FIELD_FOLD"),
    REFUSED(OK "X: y\r\n", " \r\n", "error FIELD_FOLD"),
    REFUSED(OK "X: y", "\0z\r\n", "error FIELD_VALUE"),
    REFUSED(OK "X: ", "\0\r\n", "error FIELD_VALUE"),
    REFUSED(OK "X: y", "\x7f\r\n", "error FIELD_VALUE"),
    REFUSED(OK "X:", "\v y\r\n", "error FIELD_VALUE"),
    REFUSED(OK "Date: ", "\v" DATE "\r\n", "error FIELD_VALUE"),
    REFUSED(OK "Content-Length: 1", "\x01\r\n", "error FIELD_VALUE"),
};

static const struct row lengths[] = {
    TAKEN(OK "Content-Length: 5\r\n\r\nhello", "200 keep body 5 \"hello\""),
    TAKEN(OK "Content-Length: 5\r\n\r\nhell", "200 keep; cut body"),
    TAKEN(OK "Content-Length: 5\r\n\r\n", "200 keep; cut body"),
    TAKEN(OK "Content-Length: \t 0005 \t\r\n\r\nhello", "200 keep body 5 \"hello\""),
    TAKEN(OK "Content-Length: 9223372036854775807\r\n\r\nx", "200 keep; cut body"),
    TAKEN(OK "Content-Length: 00000000000000000000000000000000001\r\n\r\nx", "200 keep body 1 \"x\""),
    REFUSED(OK "Content-Length: 922337203685477580", "8\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: 1844674407370955161", "6\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length:", "\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: \t", "\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: ", "+5\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: ", "-5\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: 5", ", 5\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: ", ",5\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: 5 ", "5\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: 5", ".0\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: 0", "x5\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: 5", "\x80\r\n\r\n", "error LENGTH"),
    REFUSED(OK "Content-Length: 5\r\nContent-Length", ": 5\r\n\r\n", "error LENGTH_REPEATED"),
    REFUSED(OK "Content-Length: 5\r\nX: y\r\ncontent-length", ": 6\r\n\r\n", "error LENGTH_REPEATED"),
    REFUSED("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r", "\n", "error LENGTH_FORBIDDEN"),
    REFUSED("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r", "\nhello", "error LENGTH_FORBIDDEN"),
    REFUSED("HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r", "\n", "error LENGTH_FORBIDDEN"),
    REFUSED(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r", "\n0\r\n\r\n", "error LENGTH_AND_CODING"),
    REFUSED(OK "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r", "\n0\r\n\r\n", "error LENGTH_AND_CODING"),
};

static const struct row codings[] = {
    TAKEN(CHUNKED "5\r\nhello\r\n0\r\n\r\n", "200 keep body 5 \"hello\""),
    TAKEN(CHUNKED "0\r\n\r\n", "200 keep"),
    TAKEN(CHUNKED "000\r\n\r\n" NOTHING, "200 keep; 200 keep"),
    TAKEN(CHUNKED, "200 keep; cut body"),
    TAKEN(CHUNKED "5\r\nhell", "200 keep; cut body"),
    TAKEN(CHUNKED "5\r\nhello\r\n", "200 keep; cut body"),
    TAKEN(CHUNKED "0\r\n\r", "200 keep; cut body"),
    TAKEN(OK "tRANSFER-eNCODING:\tcHUNKED \r\n\r\n1\r\nx\r\na;n=v\r\n0123456789\r\n0\r\n\r\n",
          "200 keep body 11 \"x0123456789\""),
    TAKEN(CHUNKED "1;a\r\nx\r\n1 ; b = c\r\ny\r\n1;d=\"e;\\\"\";f\r\nz\r\n0;last\r\nServer-Timing: a;dur=1\r\nX:\r\n\r\n" NOTHING,
          "200 keep body 3 \"xyz\"; 200 keep"),
    TAKEN(CHUNKED "0\r\nConnection: close\r\nDate: " DATE "\r\n\r\n", "200 keep"), /* no trailer means anything */
    REFUSED(CHUNKED, "\r\n", "200 keep; error CHUNK_SIZE"),
    REFUSED(CHUNKED, "x\r\n", "200 keep; error CHUNK_SIZE"),
    REFUSED(CHUNKED "0", "x5\r\nhello\r\n", "200 keep; error CHUNK_SIZE"),
    REFUSED(CHUNKED "5", "\nhello\r\n", "200 keep; error CHUNK_SIZE"),
    REFUSED(CHUNKED "5\r", "hello\r\n", "200 keep; error LINE_END"),
    REFUSED(CHUNKED "5\r\nhello", "\n0\r\n\r\n", "200 keep; error CHUNK_END"),
    REFUSED(CHUNKED "5\r\nhello", "!\r\n0\r\n\r\n", "200 keep; error CHUNK_END"),
    REFUSED(CHUNKED "5\r\nhello\r", "0\r\n\r\n", "200 keep; error CHUNK_END"),
    REFUSED(CHUNKED "fffffffffffffff", "f\r\n", "200 keep; error CHUNK_SIZE"),
    REFUSED(CHUNKED "800000000000000", "0\r\n", "200 keep; error CHUNK_SIZE"),
    TAKEN(CHUNKED "7fffffffffffffff\r\nx", "200 keep; cut body"),
    REFUSED(CHUNKED "1\r\nx\r\n7fffffffffffffff\r", "\n", "200 keep; error BODY_TOO_LARGE"),
    REFUSED(CHUNKED "5;d=\"e", "\r\n\"\r\n", "200 keep; error CHUNK_EXTENSION"),
    REFUSED(CHUNKED "5;", ";\r\n", "200 keep; error CHUNK_EXTENSION"),
    REFUSED(CHUNKED "0\r\n", " X: y\r\n\r\n", "200 keep; error TRAILER_SYNTAX"),
    REFUSED(CHUNKED "0\r\nX: y\r", "\r\n", "200 keep; error LINE_END"),
    REFUSED(CHUNKED "0\r\nContent-Length", ": 0\r\n\r\n", "200 keep; error TRAILER_FORBIDDEN"),
    REFUSED(CHUNKED "0\r\nTransfer-Encoding", ": x\r\n\r\n", "200 keep; error TRAILER_FORBIDDEN"),
    REFUSED(OK "Transfer-Encoding: ", "gzip\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding: ", "gzip, chunked\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding: ", "identity\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding: chunked", ", gzip\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding: chunked", ";a=b\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding: chunked", "d\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding: chunked ", "chunked\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding: chunk", "\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding: chunk ", "ed\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding:", "\r\n\r\n", "error CODING"),
    REFUSED(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding", ": chunked\r\n\r\n", "error CODING_REPEATED"),
    REFUSED("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r", "\n0\r\n\r\n", "error CODING_FORBIDDEN"),
    REFUSED("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r", "\n0\r\n\r\n", "error CODING_FORBIDDEN"),
    REFUSED("HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r", "\n" NOTHING, "error CODING_FORBIDDEN"),
};

static const struct row bodies[] = {
    TAKEN("HTTP/1.1 204 No Content\r\n\r\n" NOTHING, "204 keep; 200 keep"),
    TAKEN("HTTP/1.1 304 Not Modified\r\n\r\n" NOTHING, "304 keep; 200 keep"),
    TAKEN("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" NOTHING, "304 keep; 200 keep"),
    TAKEN("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n" NOTHING, "304 keep; 200 keep"),
    TAKEN("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "205 keep"),
    TAKEN("HTTP/1.0 304 Not Modified\r\nConnection: keep-alive\r\n\r\n", "304 keep"),
    /* until the end */
    TAKEN(OK "\r\n", "200 close until end"),
    TAKEN(OK "\r\nhello", "200 close body 5 \"hello\" until end"),
    TAKEN(OK "\r\n" NOTHING, "200 close body 38 \"HTTP/1.1 200 OK\\x0d\\x0aContent-Length: 0\\x0d\\x0a\\x0d\\x0a\" until end"),
    TAKEN("HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\n\r\nhello", "404 close body 5 \"hello\" until end"),
    /* HEAD */
    TO_HEAD(OK "\r\n" NOTHING, 1, "200 keep; 200 keep"),
    TO_HEAD(OK "Content-Length: 5\r\n\r\n" OK "Content-Length: 5\r\n\r\nhello", 1, "200 keep; 200 keep body 5 \"hello\""),
    TO_HEAD(CHUNKED CHUNKED "0\r\n\r\n", 1, "200 keep; 200 keep"),
    TO_HEAD(CHUNKED "0\r\n\r\n" CHUNKED, 2, "200 keep; 200 keep"),
    TO_HEAD("HTTP/1.1 103 Early Hints\r\n\r\n" OK "Content-Length: 5\r\n\r\n" NOTHING, 1, "200 keep interim 1; 200 keep"),
    TO_HEAD("HTTP/1.0 200 OK\r\n\r\n", 1, "200 close"),
    /* interim responses, passed over with all that they say */
    TAKEN("HTTP/1.1 100 Continue\r\n\r\n", "cut head"),
    TAKEN("HTTP/1.1 100 Continue\r\n\r\n" NOTHING, "200 keep interim 1"),
    TAKEN("HTTP/1.1 102 \r\nConnection: close\r\nDate: " DATE "\r\n\r\nHTTP/1.0 199 A\r\n\r\n" OK
          "Date: " DATE "\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 100 Continue\r\nX: y\r\n\r\n" NOTHING,
          "200 keep interim 2 date 23 body 1 \"x\"; 200 keep interim 1"),
    TAKEN("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "204 keep interim 1"),
    REFUSED("HTTP/1.1 100 Continue\r\n\r\n", "\r\n", "error VERSION"),
    REFUSED("HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" OK, " X: y\r\n", "error FIELD_NAME"),
    REFUSED("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r", "\n", "error UPGRADE"),
    REFUSED("HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r", "\n", "error UPGRADE"),
    /* one behind the other */
    TAKEN(NOTHING CHUNKED "3\r\nabc\r\n0\r\n\r\n" OK "Content-Length: 2\r\n\r\nde" NOTHING OK "\r\nf",
          "200 keep; 200 keep body 3 \"abc\"; 200 keep body 2 \"de\"; 200 keep; 200 close body 1 \"f\" until end"),
    REFUSED(NOTHING, "\r\n" NOTHING, "200 keep; error VERSION"),
    REFUSED(OK "Content-Length: 1\r\n\r\nx", "y", "200 keep body 1 \"x\"; error VERSION"),
};

static const struct row persistence[] = {
    TAKEN(OK "Content-Length: 0\r\nConnection: close\r\n\r\n", "200 close"),
    TAKEN(OK "Content-Length: 0\r\ncONNECTION:cLOSE\r\n\r\n", "200 close"),
    TAKEN(OK "Content-Length: 0\r\nConnection: ,, \t close \t ,\r\n\r\n", "200 close"),
    TAKEN(OK "Content-Length: 0\r\nConnection: k, close\r\n\r\n", "200 close"),
    TAKEN(OK "Content-Length: 0\r\nConnection: closed,close\r\n\r\n", "200 close"),
    TAKEN(OK "Content-Length: 0\r\nConnection: x\r\nConnection: close\r\nConnection: y\r\n\r\n", "200 close"),
    TAKEN(OK "Content-Length: 0\r\nConnection: keep-alive, close\r\n\r\n", "200 close"),
    TAKEN(OK "Content-Length: 0\r\nConnection:\r\nConnection: clos\r\nConnection: closed, xclose, close x, \"close\"\r\n"
          "Connection: clo\r\nConnection: se\r\nConnection: close=1\r\nConnection: c lose, cclose\r\n\r\n", "200 keep"),
    TAKEN("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", "200 keep"),
    TAKEN("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: x,\tkeep-alive\t,y\r\n\r\n", "200 keep"),
    TAKEN("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: close, keep-alive\r\n\r\n", "200 close"),
    TAKEN("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-aliv, keep-alive-, keep-alive x, kkeep-alive\r\n"
          "Keep-Alive: timeout=5\r\n\r\n", "200 close"),
};

/* Its value begins behind "HTTP/1.1 200 OK\r\nDate: ", 23 bytes, unless something is odd about it. */
static const struct row dates[] = {
    TAKEN(OK "Date: " DATE "\r\nContent-Length: 0\r\n\r\n", "200 keep date 23"),
    TAKEN(OK "Content-Length: 0\r\ndATE: \t " DATE "\r\n\r\n", "200 keep date 44"),
    TAKEN("HTTP/1.0 200 OK\r\nDate: " DATE "\r\nContent-Length: 0\r\n\r\n", "200 close date 23"),
    TAKEN("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nDate: " DATE "\r\nContent-Length: 0\r\n\r\n", "200 keep date 47"),
    TAKEN(OK "Connection: close\r\nDate: " DATE "\r\nContent-Length: 0\r\n\r\n", "200 close date 42"),
    TAKEN(OK "Date:" DATE "\r\nContent-Length: 0\r\n\r\n", "200 keep date 22"),
    TAKEN(OK "Date: " DATE " \r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN(OK "Date: Sunday, 06-Nov-94 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN(OK "Date: Sun Nov  6 08:49:37 1994\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN(OK "Date:\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN(OK "Date: \t\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN(OK "Date: " DATE "\r\nContent-Length: 0\r\nDate: " DATE "\r\n\r\n", "200 keep"),
    TAKEN(OK "Date: " DATE "\r\nDate:\r\nContent-Length: 0\r\ndate: " DATE "\r\n\r\n", "200 keep"),
    TAKEN(OK "Date: x\r\nDate: " DATE "\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN(OK "Last-Modified: " DATE "\r\nXDate: " DATE "\r\nDates: " DATE "\r\nContent-Length: 0\r\n\r\n", "200 keep"),
    TAKEN(OK "Date: " DATE "\r\nContent-Length: 0\r\n\r\n" OK "Date: " DATE "\r\nContent-Length: 0\r\n\r\n",
          "200 keep date 23; 200 keep date 23"),
};
/* clang-format on */

static struct trace whole, other;
static bool seen[REPLY_ERROR_BODY + 1];

/* The stream gives `expected`; a refusal comes with its `bytes`-th byte (0: it is not refused). */
static void check_stream(const reply_trace_heads *heads, const char *s, size_t len,
                         const char *expected, size_t bytes, bool every)
{
    const char *shown = len < 2048 ? s : expected;

    reply_trace_run(&whole, heads, s, len, trace_cut_whole, NULL);
    if (strcmp(whole.text, expected))
        fail_msg("%s\n%s\nexpected: %s", shown, whole.text, expected);
    seen[whole.error] = true;
    const char *how = trace_differs(reply_trace_run, heads, s, len, &whole, &other, every);
    if (how)
        fail_msg("%s\n%s: %s\nwhole: %s", shown, how, other.text, whole.text);
    reply_trace_run(&other, heads, s, len, trace_cut_bytes, NULL);
    if ((other.error != REPLY_ERROR_NONE) != (bytes != 0))
        fail_msg("%s\nthe table says %s", shown, bytes ? "refused" : "not refused");
    if (bytes && other.fed != bytes)
        fail_msg("%s\nrefused at byte %zu, not %zu", shown, other.fed, bytes);
}

static void check_rows(const struct row *rows, size_t count)
{
    char stream[1024];

    for (const struct row *r = rows; r < rows + count; r++) {
        assert_true(r->good_len + r->bad_len < sizeof(stream));
        memcpy(stream, r->good, r->good_len);
        memcpy(stream + r->good_len, r->bad, r->bad_len);
        stream[r->good_len + r->bad_len] = '\0'; /* for messages */
        check_stream(&r->heads, stream, r->good_len + r->bad_len, r->expected,
                     r->bad_len ? r->good_len + 1 : 0, true);
    }
}

static void test_table(void **state)
{
    (void)state;
    check_rows(status_lines, ARRAY_LEN(status_lines));
    check_rows(fields, ARRAY_LEN(fields));
    check_rows(lengths, ARRAY_LEN(lengths));
    check_rows(codings, ARRAY_LEN(codings));
    check_rows(bodies, ARRAY_LEN(bodies));
    check_rows(persistence, ARRAY_LEN(persistence));
    check_rows(dates, ARRAY_LEN(dates));

    /* Every error but the limits, which have tests of their own, occurs in the table. */
    seen[REPLY_ERROR_TOO_LARGE] = seen[REPLY_ERROR_TOO_MANY] = seen[REPLY_ERROR_INTERIM] = true;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        if (!seen[i])
            fail_msg("no row gives %s", reply_error_name(&(struct reply){.error = (uint8_t)i}));
}

/* ---- limits ---- */

static const reply_trace_heads no_heads;
static char stream[1 << 21];
static size_t stream_len;

static void stream_add(const char *text)
{
    size_t len = strlen(text);

    assert_true(stream_len + len < sizeof(stream));
    memcpy(stream + stream_len, text, len);
    stream_len += len;
}

static void stream_repeat(char c, size_t count)
{
    assert_true(stream_len + count < sizeof(stream));
    memset(stream + stream_len, c, count);
    stream_len += count;
}

/* refused: the last byte of the stream is. */
static void check_limit(const char *expected, bool refused)
{
    check_stream(&no_heads, stream, stream_len, expected, refused ? stream_len : 0, false);
}

/*
 * A head of REPLY_HEAD_MAX bytes is taken; the byte that makes it longer is refused, whatever it
 * is, and wherever the run that it is in was begun. An interim one has the same limit.
 */
static void test_limit_head(void **state)
{
    static const char *const before[] = {"HTTP/1.1 200 ", OK, OK "X:", OK "X: ", OK "Date: "};
    static const char fill[] = "rn vv"; /* of a reason, a name, white space, a value, a date */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        for (const char *c = "x\n\r:\x80 "; *c; c++) {
            stream_len = 0;
            stream_add(before[i]);
            stream_repeat(fill[i], REPLY_HEAD_MAX - stream_len);
            check_limit("cut head", false);
            stream_repeat(*c, 1);
            check_limit("error TOO_LARGE", true);
        }
    }
    for (int interim = 0; interim < 2; interim++) {
        for (size_t over = 0; over < 2; over++) {
            stream_len = 0;
            stream_add(interim ? "HTTP/1.1 103 \r\nX: " : "HTTP/1.1 204 \r\nX: ");
            stream_repeat('v', REPLY_HEAD_MAX - stream_len - 4 + over);
            stream_add("\r\n\r\n");
            check_limit(over ? "error TOO_LARGE" : interim ? "cut head" : "204 keep", over);
        }
    }
}

/* What is wrong behind the limit does not matter, however much is given at once. */
static void test_limit_head_first(void **state)
{
    static const char *const before[] = {
        OK "X: ", OK "Content-Length: ", OK "Transfer-Encoding: chunked", OK};
    static const char fill[] = "v0 n";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        stream_len = 0;
        stream_add(before[i]);
        stream_repeat(fill[i], REPLY_HEAD_MAX - stream_len);
        size_t edge = stream_len;
        stream_repeat(fill[i], 1);
        stream_add("x\x01\n");
        check_stream(&no_heads, stream, stream_len, "error TOO_LARGE", edge + 1, false);
    }
}

static void test_limit_fields(void **state)
{
    (void)state;
    stream_len = 0;
    stream_add("HTTP/1.1 103 \r\n");
    for (size_t i = 0; i < REPLY_FIELDS_MAX; i++)
        stream_add("X:\r\n");
    stream_add("\r\nHTTP/1.1 204 \r\n"); /* and again */
    for (size_t i = 0; i < REPLY_FIELDS_MAX; i++)
        stream_add("X:\r\n");
    size_t edge = stream_len;
    stream_add("\r\n");
    check_limit("204 keep interim 1", false);
    stream_len = edge;
    stream_add("X");
    check_limit("error TOO_MANY", true);
}

static void test_limit_interim(void **state)
{
    (void)state;
    stream_len = 0;
    for (int i = 0; i < REPLY_INTERIM_MAX; i++)
        stream_add("HTTP/1.1 100 Continue\r\n\r\n");
    size_t edge = stream_len;
    stream_add(NOTHING "HTTP/1.1 100 Continue\r\n\r\n" NOTHING); /* counted for each anew */
    check_limit("200 keep interim 16; 200 keep interim 1", false);
    stream_len = edge;
    stream_add("HTTP/1.1 100 Continue\r\n\r\n");
    check_limit("error INTERIM", true);
}

/* Extensions, of one chunk and of all, and trailers have the limits of heads and bodies. */
static void test_limit_chunked(void **state)
{
    (void)state;
    stream_len = 0;
    for (int over = 0; over < 2; over++) {
        stream_len = 0;
        stream_add(CHUNKED "0;");
        stream_repeat('x', 4095 + (size_t)over);
        if (!over)
            stream_add("\r\n\r\n");
        check_limit(over ? "200 keep; error CHUNK_EXTENSION_TOO_LONG" : "200 keep", over);
    }
    stream_len = 0;
    stream_add(CHUNKED);
    for (size_t i = 0; i < 4; i++) {
        stream_add("1;");
        stream_repeat('x', 4095);
        stream_add("\r\nz\r\n");
    }
    stream_add("0\r\n");
    for (size_t i = 0; i < REPLY_FIELDS_MAX; i++)
        stream_add("X:\r\n");
    size_t edge = stream_len;
    stream_add("\r\n");
    check_limit("200 keep body 4 \"zzzz\"", false);
    stream_len = edge;
    stream_add("X");
    check_limit("200 keep; error TRAILER_TOO_LARGE", true);
    for (size_t over = 0; over < 2; over++) {
        stream_len = 0;
        stream_add(CHUNKED "0\r\nX:");
        stream_repeat('v', REPLY_HEAD_MAX - 6 + over);
        stream_add("\r\n\r\n");
        check_limit(over ? "200 keep; error TRAILER_TOO_LARGE" : "200 keep", over);
    }
}

/* A body may be of any size; nothing of it is counted with heads. */
static void test_large_bodies(void **state)
{
    (void)state;
    stream_len = 0;
    stream_add(OK "Content-Length: 300000\r\n\r\n");
    stream_repeat('b', 300000);
    stream_add(CHUNKED "493e0\r\n");
    stream_repeat('b', 300000);
    stream_add("\r\n0\r\n\r\n" OK "\r\n");
    stream_repeat('b', 300000);
#define B48 "\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\" 2bbd81c5"
    check_limit("200 keep body 300000 " B48 "; 200 keep body 300000 " B48
                "; 200 close body 300000 " B48 " until end",
                false);
}

/* ---- bytes, one by one, against the grammar written down once more ---- */

static bool is_one_of(unsigned char c, const char *set)
{
    return c && strchr(set, c);
}

/* `before`, a run, the byte, a run, `after`: taken or not. */
static void check_byte(const char *before, char fill, const char *after, unsigned char c, bool good)
{
    for (size_t run = 0; run < 12; run++) {
        stream_len = 0;
        stream_add(before);
        stream_repeat(fill, run);
        stream_repeat((char)c, 1);
        stream_repeat(fill, 12 - run);
        stream_add(after);
        reply_trace_run(&whole, &no_heads, stream, stream_len, trace_cut_whole, NULL);
        reply_trace_run(&other, &no_heads, stream, stream_len, trace_cut_bytes, NULL);
        if (!trace_same(&whole, &other))
            fail_msg("byte 0x%02x behind %zu: %s, or %s", c, run, whole.text, other.text);
        if ((whole.messages == 1 && !whole.error) != good)
            fail_msg("byte 0x%02x behind \"%s\" and %zu: %s", c, before, run, whole.text);
    }
}

static void test_every_byte(void **state)
{
    (void)state;
    for (int i = 0; i < 256; i++) {
        unsigned char c = (unsigned char)i;
        bool digit = c >= '0' && c <= '9', text = c == '\t' || (c >= ' ' && c != 0x7f);
        bool token =
            digit || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || is_one_of(c, "!#$%&'*+-.^_`|~");
        check_byte("HTTP/1.1 204 ", 'r', "\r\n\r\n", c, text);
        if (c != ':') /* which ends the name */
            check_byte("HTTP/1.1 204 \r\n", 'n', ":\r\n\r\n", c, token);
        check_byte("HTTP/1.1 204 \r\nX:", 'v', "\r\n\r\n", c, text);
        check_byte("HTTP/1.1 204 \r\nConnection:", 'v', "\r\n\r\n", c, text);
        check_byte("HTTP/1.1 204 \r\nDate:", 'v', "\r\n\r\n", c, text);
        if (!is_one_of(c, " \t")) /* which may be around it */
            check_byte("HTTP/1.1 304 \r\nContent-Length:", '1', "\r\n\r\n", c, digit);
    }
}

static void test_texts(void **state)
{
    struct reply r;

    (void)state;
    reply_init(&r, false);
    assert_string_equal(reply_error_text(&r), "");
    for (int e = REPLY_ERROR_VERSION; e <= REPLY_ERROR_INTERIM; e++) {
        r.error = (uint8_t)e;
        assert_true(strlen(reply_error_text(&r)) > 5);
        assert_null(strpbrk(reply_error_text(&r), "\r\n"));
    }
    r.error = REPLY_ERROR_BODY;
    r.body.error = HTTP_ERROR_CHUNK_SIZE;
    assert_string_equal(reply_error_text(&r), http_error_text(HTTP_ERROR_CHUNK_SIZE));
    assert_string_equal(reply_error_name(&r), "CHUNK_SIZE");
    assert_true(sizeof(struct reply) <= 64); /* one for each connection */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_limit_head),
        cmocka_unit_test(test_limit_head_first),
        cmocka_unit_test(test_limit_fields),
        cmocka_unit_test(test_limit_interim),
        cmocka_unit_test(test_limit_chunked),
        cmocka_unit_test(test_large_bodies),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
