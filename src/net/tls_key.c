/* SPDX-License-Identifier: MIT */
/*
 * tls_key.c - private keys: read from files, their permissions looked at, and kept for a reload by a
 * user that may not read them any more.
 */
#include "config.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "log.h"
#include "tls_internal.h"

/* What the log warns of: who has the key is the server, to all clients. */
static void key_check_permissions(const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IROTH | S_IWGRP | S_IWOTH)))
        log_warn("--tls-key %s: others may %s the key (mode %04o): chmod 600 it", path,
                 st.st_mode & (S_IWGRP | S_IWOTH) ? "change" : "read",
                 (unsigned)st.st_mode & 07777u);
}

/* A key that is sealed by a password cannot be read: nobody is there to be asked. */
static int key_no_password(char *to, int size, int writing, void *asked)
{
    (void)to;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

/* ---- what OpenSSL leaves behind ---- */

/*
 * Its decoders try a key in several forms, and free copies of it as they are: OpenSSL 3.0 leaves nine of
 * them. While a key is read, what it frees is wiped, so that processes which have no use for the key, and
 * have freed it, do not have it. Memory functions can be set before OpenSSL has used any, else it is as
 * it was.
 */
static bool key_wipes;

static void *key_alloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(size);
}

static void key_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    if (unlikely(key_wipes) && p)
        OPENSSL_cleanse(p, malloc_usable_size(p));
    free(p);
}

static void *key_realloc(void *old, size_t size, const char *file, int line)
{
    if (likely(!key_wipes) || !old)
        return realloc(old, size);
    void *p = size ? malloc(size) : NULL;
    if (p)
        memcpy(p, old, MIN(size, malloc_usable_size(old)));
    if (p || !size)
        key_free(old, file, line);
    return p;
}

void tls_keys_init(void)
{
    CRYPTO_malloc_fn alloc;
    CRYPTO_realloc_fn resize;
    CRYPTO_free_fn release;

    CRYPTO_get_mem_functions(&alloc, &resize, &release);
    if (alloc == CRYPTO_malloc) /* else a test's */
        CRYPTO_set_mem_functions(key_alloc, key_realloc, key_free);
}

/* The private key that stands in the file. 0, or -errno and a message. */
static int key_read_file(const char *path, EVP_PKEY **key, char *error)
{
    bool sealed = false;
    FILE *f = fopen(path, "re");

    if (!f) {
        int err = errno;
        snprintf(error, TLS_ERROR_MAX,
                 "--tls-key %s: %s (it is read before privileges are given up, as the user that "
                 "starts the server)",
                 path, strerror(err));
        return -err;
    }
    setvbuf(f, NULL, _IONBF, 0); /* no copy of the key is left in a buffer of stdio */
    ERR_clear_error();
    key_wipes = true;
    *key = PEM_read_PrivateKey(f, NULL, key_no_password, &sealed);
    key_wipes = false;
    fclose(f);
    if (*key)
        return 0;
    if (sealed)
        snprintf(error, TLS_ERROR_MAX,
                 "--tls-key %s: the key is sealed by a password, which nobody is there to type; "
                 "openssl pkey -in FILE -out NEW makes a plain one",
                 path);
    else
        snprintf(error, TLS_ERROR_MAX,
                 "--tls-key %s: there is no private key in it: %s (PEM is needed: -----BEGIN "
                 "PRIVATE KEY-----)",
                 path, tls_take_error());
    ERR_clear_error();
    return -EINVAL;
}

/* The key that was read from there before. NULL: none was. */
static EVP_PKEY *key_find(const struct tls_context *c, const char *path)
{
    for (unsigned i = 0; c && i < c->key_count; i++)
        if (strcmp(c->keys[i].path, path) == 0)
            return c->keys[i].key;
    return NULL;
}

/* For the next reload. 0 or -ENOMEM and a message. */
static int key_keep(struct tls_context *c, const char *path, EVP_PKEY *key, char *error)
{
    if (key_find(c, path))
        return 0;
    struct tls_key *kept = &c->keys[c->key_count];
    kept->path = strdup(path);
    if (!kept->path) {
        snprintf(error, TLS_ERROR_MAX, "--tls-key %s: no memory", path);
        return -ENOMEM;
    }
    EVP_PKEY_up_ref(key);
    kept->key = key;
    c->key_count++;
    return 0;
}

int tls_key_read(struct tls_context *c, const char *path, EVP_PKEY **key, char *error)
{
    int rc = key_read_file(path, key, error);

    if (rc == -EACCES && (*key = key_find(c->before, path))) {
        log_notice(
            "--tls-key %s: the user that serves may not read it: the key that was read at the "
            "start is kept",
            path);
        EVP_PKEY_up_ref(*key);
    } else if (rc < 0) {
        return rc;
    } else {
        key_check_permissions(path);
    }
    rc = key_keep(c, path, *key, error);
    if (rc < 0)
        EVP_PKEY_free(*key);
    return rc;
}

void tls_keys_free(struct tls_context *c)
{
    for (unsigned i = 0; i < c->key_count; i++) {
        EVP_PKEY_free(c->keys[i].key);
        free(c->keys[i].path);
    }
    free(c->keys);
}
