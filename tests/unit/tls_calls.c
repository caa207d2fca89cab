/* SPDX-License-Identifier: MIT */
/*
 * tls_calls.c - see tls_calls.h.
 */
#include "config.h"

#include "tls_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "util.h"

enum tls_call {
#define CALL(type, failure, name, parameters, arguments) CALL_##name,
#include "tls_calls_table.h"
#undef CALL
    CALL_EVP_PKEY_Q_keygen, /* of any number of arguments: at the end of this file */
    CALLS,
};

static const char *const calls_names[] = {
#define CALL(type, failure, name, parameters, arguments) #name,
#include "tls_calls_table.h"
#undef CALL
    "EVP_PKEY_Q_keygen",
};

static bool calls_on, calls_say_why;
static unsigned calls_chosen = CALLS, calls_left; /* calls of it until it fails; 0: none does */
static unsigned calls_made[CALLS];
static char calls_reason[80];

/* ---- what the test says ---- */

/* The nth time that this one is called it fails, once. */
static void calls_fail(unsigned call, unsigned nth, bool says_why)
{
    calls_chosen = call;
    calls_left = nth;
    calls_say_why = says_why;
    snprintf(calls_reason, sizeof(calls_reason), "%s is made to fail", calls_names[call]);
}

unsigned tls_calls_fail_each(tls_calls_fn *try, void *arg)
{
    unsigned made[CALLS], tries = 0;

    calls_chosen = CALLS;
    memset(calls_made, 0, sizeof(calls_made));
    try(arg, false);
    memcpy(made, calls_made, sizeof(made));
    for (unsigned call = 0; call < CALLS; call++)
        for (unsigned i = 0; i < 2 * made[call]; i++, tries++) {
            calls_fail(call, i / 2 + 1, i % 2);
            try(arg, i % 2);
            if (!tls_calls_failed())
                fail_msg("%s is not called for the %uth time", calls_names[call], i / 2 + 1);
        }
    ERR_clear_error();
    return tries;
}

const char *tls_calls_reason(void)
{
    return calls_reason;
}

void tls_calls_on(bool on)
{
    calls_on = on;
}

bool tls_calls_failed(void)
{
    return calls_chosen < CALLS && calls_left == 0;
}

bool tls_calls_failed_of(const char *names)
{
    char name[80];

    snprintf(name, sizeof(name), " %.*s ", (int)strcspn(calls_reason, " "), calls_reason);
    return tls_calls_failed() && strstr(names, name);
}

/* An error of a library of ours, whose text is `reason`. */
static void calls_raise(const char *reason)
{
    static ERR_STRING_DATA texts[] = {{1, calls_reason}, {2, "left by somebody else"}, {0, NULL}};
    static int library;

    if (!library) {
        library = ERR_get_next_error_library();
        ERR_load_strings(library, texts);
    }
    ERR_raise(library, reason == calls_reason ? 1 : 2);
}

void tls_calls_leave_error(void)
{
    calls_raise(NULL);
}

/* ---- what is called in the place of OpenSSL ---- */

static bool calls_fails(enum tls_call call)
{
    calls_made[call] += calls_on;
    if (!calls_on || call != calls_chosen || calls_left == 0 || --calls_left > 0)
        return false;
    if (calls_say_why)
        calls_raise(calls_reason);
    return true;
}

#define CALL(type, failure, name, parameters, arguments)                     \
    extern __typeof__(name) __real_##name, __wrap_##name;                    \
    type __wrap_##name parameters                                            \
    {                                                                        \
        return calls_fails(CALL_##name) ? failure : __real_##name arguments; \
    }
#include "tls_calls_table.h"
#undef CALL

EVP_PKEY *__real_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *ctx, const char *propq, const char *type, ...);
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *ctx, const char *propq, const char *type, ...);

EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *ctx, const char *propq, const char *type, ...)
{
    EVP_PKEY *key = NULL;
    va_list list;

    if (calls_fails(CALL_EVP_PKEY_Q_keygen))
        return NULL;
    va_start(list, type);
    if (strcmp(type, "RSA") == 0)
        key = __real_EVP_PKEY_Q_keygen(ctx, propq, type, va_arg(list, size_t));
    else
        key = __real_EVP_PKEY_Q_keygen(ctx, propq, type, va_arg(list, char *));
    va_end(list);
    return key;
}
