/* SPDX-License-Identifier: MIT */
/*
 * null_common.h - what the null servers share: they receive, count requests and send as many canned
 * answers, and so show what the kernel's side of the work costs at least. Not HTTP servers: nothing
 * is parsed, no limit is kept.
 */
#ifndef BIVALVE_NULL_COMMON_H
#define BIVALVE_NULL_COMMON_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NULL_RECV_BYTES  16384
#define NULL_BATCH_BYTES 65536 /* answers to one receive; what exceeds it is not sent */

static char null_answer[NULL_BATCH_BYTES];
static size_t null_answer_len;

/*
 * PORT and the answer's body: the number of its bytes (2 when not given), as many as bivalve's
 * answer has, or =TEXT, the text itself, for a load that looks at it.
 */
static inline int null_setup(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s PORT [BODY-BYTES | =BODY]\n", argv[0]);
        exit(2);
    }
    const char *text = argc > 2 && argv[2][0] == '=' ? argv[2] + 1 : NULL;
    size_t body = text ? strlen(text) : argc > 2 ? strtoul(argv[2], NULL, 10) : 2;
    int n = snprintf(
        null_answer, sizeof(null_answer),
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
        "Content-Length: %zu\r\n\r\n",
        body);
    if ((size_t)n + body > sizeof(null_answer)) {
        fprintf(stderr, "%s: at most %zu bytes of body\n", argv[0],
                sizeof(null_answer) - (size_t)n);
        exit(2);
    }
    if (text)
        memcpy(null_answer + n, text, body);
    else
        memset(null_answer + n, 'x', body);
    null_answer_len = (size_t)n + body;

    signal(SIGPIPE, SIG_IGN);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)atoi(argv[1])),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0) {
        perror(argv[1]);
        exit(1);
    }
    return fd;
}

/*
 * Requests that end their request line in these bytes; one cut in two is found by neither half,
 * which a benchmark can bear.
 */
static inline unsigned null_count(const char *data, size_t len)
{
    static const char mark[] = " HTTP/1.1\r\n";
    const char *p = data, *end = data + len;
    unsigned n = 0;

    while ((p = memmem(p, (size_t)(end - p), mark, sizeof(mark) - 1)) != NULL) {
        n++;
        p += sizeof(mark) - 1;
    }
    return n;
}

/* `n` answers behind each other in `out` (NULL_BATCH_BYTES); returns their length. */
static inline size_t null_fill(char *out, unsigned n)
{
    size_t len = 0;

    for (; n > 0 && len + null_answer_len <= NULL_BATCH_BYTES; n--, len += null_answer_len)
        memcpy(out + len, null_answer, null_answer_len);
    return len;
}

#endif
