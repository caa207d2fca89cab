/* SPDX-License-Identifier: MIT */
/*
 * peer.h - the clients' addresses as text, for whoever logs them: asked from the kernel once a
 * connection. A table beside that of the slots, with the same key; memory is touched only where
 * connections are whose address somebody has wanted.
 */
#ifndef BIVALVE_PEER_H
#define BIVALVE_PEER_H

#include <stddef.h>
#include <stdint.h>

#define PEER_TEXT_MAX 55 /* the longest IPv6 address is 45 */

struct peer {
    uint32_t gen; /* of the connection that it is about: slot.h */
    uint8_t len;
    char text[PEER_TEXT_MAX + 4]; /* not NUL-terminated */
};

struct peer_table {
    struct peer *peers;
    uint32_t cap;
};

/* For fds 0..cap-1. 0, or -errno. */
int peer_table_init(struct peer_table *t, uint32_t cap);
void peer_table_destroy(struct peer_table *t);

/*
 * The address of the client on `fd`, whose slot's generation is `gen`: "192.0.2.1", "2001:db8::1",
 * "unix:" or "-" when nobody knows. *len bytes, until the table's next use.
 */
const char *peer_text(struct peer_table *t, int fd, uint32_t gen, size_t *len);

/* From now on that is `text` (below PEER_TEXT_MAX bytes): a proxy has said so. */
void peer_set(struct peer_table *t, int fd, uint32_t gen, const char *text);

#endif
