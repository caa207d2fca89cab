/* SPDX-License-Identifier: MIT */
/*
 * tls_calls.h - OpenSSL's calls fail one by one, in tests: those that src/net/tls_*.c make and that may fail
 * are wrapped (ld --wrap, tls_calls_table.h).
 */
#ifndef BIVALVE_TESTS_TLS_CALLS_H
#define BIVALVE_TESTS_TLS_CALLS_H

#include <stdbool.h>

/* Something that makes calls, tls_calls_on() while it does; it makes the same ones each time. */
typedef void tls_calls_fn(void *arg, bool says_why);

/*
 * Do it, to see what it calls; and then for each of these calls twice more, while this one fails without
 * having done anything: with tls_calls_reason() in OpenSSL's queue of errors, and with nothing there.
 * Gives how often it was done with one that failed.
 */
unsigned tls_calls_fail_each(tls_calls_fn *try, void *arg);

/* Calls count from here on, or no more: a test calls OpenSSL itself. */
void tls_calls_on(bool on);

/* Has it failed? What of: "SSL_new is made to fail". */
bool tls_calls_failed(void);
const char *tls_calls_reason(void);

/* Has one of these failed? They are names between blanks: " SSL_new SSL_ctrl ". */
bool tls_calls_failed_of(const char *names);

/* An error that somebody has left in the queue, which has nothing to do with what is called next. */
void tls_calls_leave_error(void);

#endif
